"""The OpenAPI document as a judge: every answer that a test gets is held to what it promises."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Protocol

import msgspec
from openapi_schema_validator import OAS31Validator, oas31_format_checker

from shipslog.api.openapi import document
from shipslog.api.routes import ROUTES

Json = Any
PROBLEM = "application/problem+json"


class Answer(Protocol):
    """What a test got."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes: ...
    @property
    def json(self) -> Json: ...


@cache
def promised() -> dict[str, Any]:
    """Return the document, its own types closed, so that a field too many shows."""
    promise: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(document(ROUTES, "0")))
    for name, schema in promise["components"]["schemas"].items():
        if "properties" in schema and name != "ProblemDocument":
            schema.setdefault("additionalProperties", False)
    return promise


def judge(method: str, path: str, answer: Answer) -> None:
    """Assert that an answer is one of those that the document names for its route."""
    operation = _operation(method, path)
    media = answer.headers.get("Content-Type", "").partition(";")[0]
    if operation is None:
        assert answer.status in {400, 404, 405}
        _check({"$ref": "#/components/schemas/ProblemDocument"}, answer.json)
        return
    if answer.status == 304:
        assert not answer.body
        return
    responses = operation["responses"]
    response = responses["default" if media == PROBLEM else str(answer.status)]
    for name, header in response.get("headers", {}).items():
        assert name in answer.headers or not header.get("required"), name
    if "content" in response:
        schema = response["content"][media]["schema"]
        if media in {"application/json", PROBLEM} and schema != {"type": "string"}:
            _check(schema, answer.json)


def _operation(method: str, path: str) -> dict[str, Any] | None:
    path = path.partition("?")[0]
    for template, operations in promised()["paths"].items():
        if re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path):
            found: dict[str, Any] | None = operations.get(method.lower())
            return found
    return None


def _check(schema: dict[str, Any], value: Json) -> None:
    root = schema | {"components": promised()["components"]}
    OAS31Validator(root, format_checker=oas31_format_checker).validate(value)

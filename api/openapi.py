"""OpenAPI 3.1, made of the routes' own declarations and the types of their documents."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, TypeGuard

import msgspec
from aiohttp import hdrs
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from .wire.accept import EVENT_STREAM, JSON, PROBLEM
from .wire.documents import ProblemDocument
from .wire.endpoint import IDEMPOTENCY_KEY, LEDGER_POSITION, MAX_KEY, Gives, Open, Route

_REF = "#/components/schemas/{name}"
_PLACEHOLDER = re.compile(r"{(\w+)}")
_KEY = {
    "name": IDEMPOTENCY_KEY,
    "in": "header",
    "description": "The same key with the same body is carried out once and answered alike.",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY},
}
_IF_MATCH = {
    "name": str(hdrs.IF_MATCH),
    "in": "header",
    "description": "Only if this is its ETag still; needed to change what exists.",
    "schema": {"type": "string"},
}
_POSITION = {
    "name": LEDGER_POSITION,
    "in": "header",
    "description": "Wait up to 10 s until what was written up to here is visible.",
    "schema": {"type": "integer", "minimum": 0},
}
_LAST_EVENT = {
    "name": "Last-Event-ID",
    "in": "header",
    "description": "Go on after this position; it wins over `after`.",
    "schema": {"type": "integer", "minimum": 0},
}


def document(routes: Iterable[Route], version: str) -> dict[str, Any]:
    """Return the document of all routes."""
    routes = list(routes)
    references, schemas = _schemas(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        operation = _operation(route, references)
        paths.setdefault(route.path, {})[str(route.method).lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Shipslog",
            "version": version,
            "description": "A deployment ledger that also does the deploying.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _schemas(routes: list[Route]) -> tuple[dict[Any, dict[str, Any]], dict[str, Any]]:
    """Return each type's reference, and the schemas that the references lead to."""
    given = [one.document for route in routes for one in route.gives if one.document is not None]
    types = list(dict.fromkeys([ProblemDocument, *given]))
    structs = [one for one in types if not _is_model(one)]
    bodies = dict.fromkeys(route.body for route in routes if route.body is not None)
    found, components = msgspec.json.schema_components(structs, ref_template=_REF)
    asked = _asked(bodies, "validation")
    asked += _asked([one for one in types if _is_model(one)], "serialization")
    # The language and the plan have types of one name: those that users write end in Body.
    template = _REF.format(name="{model}Body")
    modelled, definitions = models_json_schema(asked, ref_template=template)
    references = dict(zip(structs, found, strict=True))
    references |= {kind: modelled[kind, mode] for kind, mode in asked}
    written = {f"{name}Body": schema for name, schema in definitions.get("$defs", {}).items()}
    return references, components | written


def _asked(
    models: Iterable[type[BaseModel]], mode: JsonSchemaMode
) -> list[tuple[type[BaseModel], JsonSchemaMode]]:
    return [(model, mode) for model in models]


def _is_model(kind: Any) -> TypeGuard[type[BaseModel]]:  # noqa: ANN401 - any type that has a schema
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _operation(route: Route, references: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    summary, _, more = (route.answer.__doc__ or "").strip().partition("\n")
    operation: dict[str, Any] = {
        "operationId": route.answer.__name__,
        "summary": summary,
        "tags": [route.answer.__module__.rpartition(".")[2]],
        "parameters": _parameters(route),
        "responses": _responses(route, references),
        "security": [] if route.needs is Open.OPEN else [{"token": []}],
    }
    if more.strip():
        operation["description"] = " ".join(more.split())
    if not isinstance(route.needs, Open):
        operation["x-permission"] = route.needs.value
    if route.body is not None:
        content = {JSON: {"schema": references[route.body]}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _parameters(route: Route) -> list[dict[str, Any]]:
    return [
        *(
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in _PLACEHOLDER.findall(route.path)
        ),
        *(
            {
                "name": parameter.name,
                "in": "query",
                "description": parameter.meaning,
                "schema": parameter.kind.schema,
            }
            for parameter in route.query
        ),
        *_headers(route),
    ]


def _headers(route: Route) -> list[dict[str, Any]]:
    if route.method == hdrs.METH_POST:
        return [_KEY, _IF_MATCH]
    if route.method == hdrs.METH_PUT:
        return [_IF_MATCH]
    if route.needs is Open.OPEN or route.method != hdrs.METH_GET:
        return []
    return [_POSITION, *([_LAST_EVENT] if EVENT_STREAM in route.media else [])]


def _responses(route: Route, references: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for one in route.gives:
        answer = responses.setdefault(str(one.status), _answer(one))
        schema = {"type": "string"} if one.document is None else references[one.document]
        if one.status != HTTPStatus.NO_CONTENT:
            answer.setdefault("content", {})[one.media] = {"schema": schema}
    responses["default"] = {
        "description": "Why it was refused or failed (RFC 9457).",
        "content": {PROBLEM: {"schema": references[ProblemDocument]}},
    }
    return responses


def _answer(given: Gives) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": HTTPStatus(given.status).phrase}
    headers: dict[str, Any] = {}
    if given.media == JSON and given.document is not None:
        headers[str(hdrs.ETAG)] = {"schema": {"type": "string"}, "required": True}
    if given.is_change:
        headers[LEDGER_POSITION] = {
            "schema": {"type": "integer"},
            "description": "Position of the last event that the change wrote.",
            "required": True,
        }
    return answer | ({"headers": headers} if headers else {})

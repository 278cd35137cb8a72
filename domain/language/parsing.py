"""The one place where a validation's faults become a refusal with a JSON pointer.

HTTP bodies and users' files pass through `parse` alike, so a wrong value is refused with the same
words wherever it comes from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ..errors import DigestRequiredError, InvalidCommandError, InvalidError, NotAvailableError

MAX_FAULTS = 20
"""How many faults a refusal lists."""
MAX_SENTENCE = 200

Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"
Model = TypeVar("Model", bound=BaseModel)

_SURROGATE = re.compile("[\ud800-\udfff]")
_NUL = re.compile("\0")

_ERRORS: dict[str, type[InvalidError]] = {
    kind.slug: kind for kind in (InvalidCommandError, DigestRequiredError, NotAvailableError)
}
_ECHOES = {"default_factory_not_called"}
"""Faults that only follow from another one."""
_SENTENCES = {
    "extra_forbidden": "There is no such field.",
    "missing": "This field is needed.",
    "model_type": "This is an object with fields.",
    "string_type": "This is a text.",
    "int_type": "This is a whole number.",
    "bool_type": "This is true or false.",
}


def parse(model: type[Model], data: Json, pointer: str = "") -> Model:
    """Validate JSON-like data as a model; `pointer` leads to the data in its document.

    Errors: InvalidError or the subclass that a fault's slug names, with the pointer of the first
    fault (one of a feature not built goes before others) and all of them in `errors`.
    """
    _refuse(_SURROGATE, "a lone surrogate", data, pointer)
    try:
        value = model.model_validate(data)
    except ValidationError as error:
        raise refused(error, pointer) from None
    except InvalidError as error:
        raise _moved(error, pointer) from None
    # The language's own texts know of NUL; this is for models that forgot.
    _refuse(_NUL, "NUL", data, pointer)
    return value


def refused(error: ValidationError, pointer: str = "") -> InvalidError:
    """Return the refusal that says what a validation found."""
    found = error.errors(include_url=False, include_input=False)
    details = [detail for detail in found if detail["type"] not in _ECHOES]
    details.sort(key=lambda detail: detail["type"] != NotAvailableError.slug)
    faults = [
        {"pointer": pointer + _pointer(detail), "detail": _sentence(detail)}
        for detail in details[:MAX_FAULTS]
    ]
    kind = _ERRORS.get(details[0]["type"], InvalidError)
    return kind(faults[0]["detail"], pointer=faults[0]["pointer"], errors=faults)


def addressed(data: Mapping[str, Any], kind: str, name: str) -> dict[str, Any]:
    """Return a document with the kind and name of its address; InvalidError if it has others."""
    for key, value in (("kind", kind), ("name", name)):
        if data.get(key, value) != value:
            message = f"The address says {value} here."
            raise InvalidError(message, pointer=f"/{key}")
    return {**data, "kind": kind, "name": name}


def escaped(key: object) -> str:
    """Return a key as a part of a JSON pointer (RFC 6901)."""
    text = str(key).encode("utf-8", "replace").decode()
    return "/" + text.replace("~", "~0").replace("/", "~1")


def _refuse(what: re.Pattern[str], name: str, data: Json, pointer: str) -> None:
    for where, text in _texts(data, pointer):
        if what.search(text):
            message = f"A text holds {name}."
            raise InvalidError(message, pointer=where)


def _texts(data: Json, pointer: str) -> Iterator[tuple[str, str]]:
    if isinstance(data, str):
        yield pointer, data
    elif isinstance(data, Mapping):
        for key, value in data.items():
            where = pointer + escaped(key)
            yield where, str(key)
            yield from _texts(value, where)
    elif isinstance(data, list | tuple):
        for index, value in enumerate(data):
            yield from _texts(value, f"{pointer}/{index}")


def _pointer(detail: ErrorDetails) -> str:
    place = "".join(escaped(part) for part in _places(detail["loc"]))
    return place + str(detail.get("ctx", {}).get("at", ""))


def _places(location: Iterable[int | str]) -> Iterator[int | str]:
    # A member's tag and the mark of a faulty key are pydantic's, not the document's.
    return (part for part in location if part != "[key]" and not str(part).startswith("$"))


def _sentence(detail: ErrorDetails) -> str:
    sentence = _SENTENCES.get(detail["type"], detail["msg"])
    return sentence if len(sentence) <= MAX_SENTENCE else sentence[: MAX_SENTENCE - 1] + "…"


def _moved(error: InvalidError, pointer: str) -> InvalidError:
    context = {**error.context, "pointer": pointer + error.pointer}
    return type(error)(str(error), **context)

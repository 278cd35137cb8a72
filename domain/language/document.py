"""The base of what users write: frozen models that refuse unknown fields, and have one document."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from ..event import sha256_hex
from . import canonical
from .parsing import Json, parse


class Written(BaseModel):
    """Something a user writes."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Document(Written):
    """A whole document: equal ones have equal bytes, in whatever language they were written."""

    @classmethod
    def parse(cls, data: Json, pointer: str = "") -> Self:
        """Read JSON-like data; InvalidError with a JSON pointer where it is not such a document."""
        return parse(cls, data, pointer)

    def document(self) -> dict[str, Any]:
        """Return the canonical document, defaults filled in, one spelling for each value."""
        return self.model_dump(mode="json")

    def sha256(self) -> str:
        """Return the SHA-256 of the canonical document's RFC 8785 JSON, hex."""
        return sha256_hex(self.canonical)

    @cached_property
    def canonical(self) -> bytes:
        """The canonical document as RFC 8785 JSON."""
        return canonical.dumps(self.document())

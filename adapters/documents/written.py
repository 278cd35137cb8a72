"""A document as it stands in a file: its fields, and the line of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...domain.errors import InvalidError
from ...domain.language.environment import EnvironmentDocument
from ...domain.language.kinds import parse_document
from ...domain.language.pipeline import Pipeline

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 32
MAX_DOCUMENTS = 100


@dataclass(frozen=True)
class WrittenDocument:
    """JSON-like fields, the name of their file, and the line of each JSON pointer that is known."""

    file: str
    fields: dict[str, Any]
    lines: Mapping[str, int] = field(default_factory=dict[str, int])

    @property
    def kind(self) -> object:
        """What the document says it is; None where it says nothing."""
        return self.fields.get("kind")

    def checked(self) -> Pipeline | EnvironmentDocument:
        """Return the definition it is; InvalidError with file, line and path where it is none."""
        try:
            return parse_document(self.fields)
        except InvalidError as error:
            line = self.line(error.pointer)
            message = placed(self.file, line, error.pointer, str(error))
            context: dict[str, Any] = {**error.context, "file": self.file, "line": line}
            raise type(error)(message, **context) from None

    def line(self, pointer: str) -> int | None:
        """Return the line of the value a pointer leads to, or of the nearest one around it."""
        while pointer not in self.lines and pointer:
            pointer = pointer.rpartition("/")[0]
        return self.lines.get(pointer)


def unreadable(file: str, line: int | None, sentence: str, pointer: str = "") -> InvalidError:
    """Return the refusal of a file that cannot be read, by file, line and path."""
    message = placed(file, line, pointer, sentence)
    return InvalidError(message, pointer=pointer, file=file, line=line)


def placed(file: str, line: int | None, pointer: str, sentence: str) -> str:
    """Return a sentence with its place in front.

    >>> placed("web.yaml", 3, "/name", "This is a text.")
    'web.yaml:3: /name: This is a text.'
    """
    place = f"{file}:{line}" if line else file
    return f"{place}: {pointer}: {sentence}" if pointer else f"{place}: {sentence}"

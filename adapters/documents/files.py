"""Files named on the command line to documents, by their endings: .yaml .yml .json .py."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .json_text import read_json
from .python_file import read_python
from .sources import with_absolute_source
from .written import MAX_BYTES, WrittenDocument, unreadable
from .yaml_text import read_yaml


def read_files(paths: Iterable[Path]) -> list[WrittenDocument]:
    """Return all documents in order, sources absolute; InvalidError names file, line and path."""
    return [document for path in paths for document in read_file(path)]


def read_file(path: Path) -> list[WrittenDocument]:
    """Return the documents of one file; at least one."""
    found = read_python(path) if path.suffix == ".py" else read_text(_text(path), str(path))
    if not found:
        raise unreadable(str(path), None, "There is no document in this file.")
    return [with_absolute_source(document, path.resolve().parent) for document in found]


def read_text(text: str, file: str) -> list[WrittenDocument]:
    """Return the documents of a text that is YAML, or JSON if the file's name ends so."""
    text = text.removeprefix("\ufeff")
    return read_json(text, file) if file.endswith(".json") else read_yaml(text, file)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise unreadable(str(path), None, f"It cannot be read: {error.strerror}.") from None
    if len(content) > MAX_BYTES:
        raise unreadable(str(path), None, f"A file has at most {MAX_BYTES} bytes.")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise unreadable(str(path), line, "This is not UTF-8.") from None

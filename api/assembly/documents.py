"""Users' files, read where they lie."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ...adapters.documents import files

if TYPE_CHECKING:
    from ...adapters.documents.written import WrittenDocument


def read_files(paths: Iterable[Path]) -> list[WrittenDocument]:
    """Return the documents of a user's files. Errors: InvalidError with file and line."""
    return files.read_files(paths)

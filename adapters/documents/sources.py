"""The folders that pipelines take as source: made absolute where written, allowed where kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from ...domain.errors import InvalidError
from .written import WrittenDocument


def with_absolute_source(document: WrittenDocument, folder: Path) -> WrittenDocument:
    """Return a document whose `source`, if any, is absolute; a relative one is in `folder`."""
    source = document.fields.get("source")
    if document.kind != "Pipeline" or not isinstance(source, str) or "\0" in source:
        return document
    absolute = (folder / Path(source).expanduser()).resolve()
    return replace(document, fields={**document.fields, "source": str(absolute)})


def allowed_source(source: str, roots: Iterable[Path]) -> str:
    """Return the real folder behind a source, links followed.

    Errors: InvalidError for a relative path, for what is no folder, and for a folder outside all
    roots.
    """
    if not source.startswith("/"):
        message = "A source is an absolute folder; `shipslog apply` makes it one."
        raise InvalidError(message, pointer="/source")
    try:
        real = Path(source).resolve(strict=True)
    except (OSError, ValueError):
        real = None
    # Both refusals say the same, or a stranger could ask which folders exist.
    if real is None or not real.is_dir() or not any(_holds(root, real) for root in roots):
        message = "A source is a folder under SHIPSLOG_ROOTS."
        raise InvalidError(message, pointer="/source")
    return str(real)


def _holds(root: Path, folder: Path) -> bool:
    return folder.is_relative_to(root.resolve())

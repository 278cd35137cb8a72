"""The two streams: data on stdout, talk on stderr; nothing raw of what others wrote.

A table is drawn on a terminal and tab-separated lines behind a pipe; a JSON document is indented
on a terminal and one line behind a pipe.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from rich.console import Console

PIPE_CLOSED = 141
"""What a shell shows of a program that SIGPIPE ended."""
WIDEST = 10_000
"""Columns of a table at most."""
INSTANTS = frozenset(["REQUESTED", "COMPLETED", "RECORDED", "SINCE", "CREATED", "EXPIRES", "USED"])
"""Columns that a person reads to the second."""

_COLOURING = re.compile(r"\x1b\[[0-9;:]*m")
_NOT_ASCII = re.compile(r"[^\n -~]")


def is_terminal() -> bool:
    """Say whether a person reads what we print."""
    return sys.stdout.isatty()


def clean(text: object) -> str:
    """Return a text with whatever could move the cursor, hide or reorder as a visible escape."""
    written = str(text)
    if written.isprintable():
        return written
    return "".join(c if c.isprintable() else _escape(c) for c in written)


def say(text: object) -> None:
    """Tell the person something that is not data."""
    print(clean(text), file=sys.stderr, flush=True)  # noqa: T201 - this is the one place


def put(text: str) -> None:
    """Write a line of data that is clean already."""
    put_bytes(text.encode(errors="backslashreplace") + b"\n")


def put_bytes(content: bytes) -> None:
    """Write data as it is; a reader that has gone ends the program without a word."""
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        _leave_quietly()


def put_printed(content: bytes) -> None:
    """Write what somebody's command printed: to a terminal cleaned, behind a pipe byte for byte."""
    if not is_terminal():
        put_bytes(content)
        return
    text = _COLOURING.sub("", content.decode(errors="replace"))
    for line in text.removesuffix("\n").split("\n"):
        put(clean(line.rstrip("\r").expandtabs()))


def put_json(document: object, *, one_line: bool = False) -> None:
    """Write a document as JSON."""
    is_compact = one_line or not is_terminal()
    layout: dict[str, Any] = {"separators": (",", ":")} if is_compact else {"indent": 2}
    text = json.dumps(document, ensure_ascii=False, **layout)
    put(_NOT_ASCII.sub(lambda found: _json_escape(found[0]), text))


def put_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write rows under their columns' names; behind a pipe the rows alone."""
    if not is_terminal():
        for row in rows:
            put_row(row)
        return
    from rich.table import Table

    # A row that is wider than the terminal is broken by it, not by us: cells are copied whole.
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*map(_shown, columns, row))
    console(WIDEST).print(table)


def short(instant: str | None) -> str:
    """Return an instant to the second, in UTC, as people read it."""
    if instant is None:
        return ""
    return datetime.fromisoformat(instant).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def put_row(row: Sequence[object]) -> None:
    """Write one tab-separated line."""
    put("\t".join(map(_cell, row)))


def console(width: int | None = None) -> Console:
    """Return the terminal; it takes no text for markup and obeys NO_COLOR."""
    from rich.console import Console

    return Console(width=width, markup=False, highlight=False, emoji=False)


def _cell(value: object) -> str:
    return "" if value is None else clean(value)


def _shown(column: str, value: object) -> str:
    return short(value) if column in INSTANTS and isinstance(value, str) else _cell(value)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _json_escape(character: str) -> str:
    return character if character.isprintable() else json.dumps(character)[1:-1]


def _leave_quietly() -> NoReturn:
    # The interpreter flushes stdout once more at its end, and would complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(PIPE_CLOSED)

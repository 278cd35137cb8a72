"""Pages of rows by keyset: a cursor names the last row seen, so that every page costs the same."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import msgspec
from sqlalchemy import Column, Connection, RowMapping, Select, tuple_

from ...domain.errors import InvalidCursorError, InvalidError

MAX_LIMIT = 1000
_MAX_INTEGER = 2**63 - 1

Item = TypeVar("Item")


class Page(msgspec.Struct, frozen=True):
    """Which part of a list is asked for: at most `limit` items after the one `cursor` names."""

    limit: int = 50
    cursor: str | None = None

    def check(self) -> None:
        """Refuse a limit outside 1 to 1000 with InvalidError."""
        if not 1 <= self.limit <= MAX_LIMIT:
            message = f"A limit is 1 to {MAX_LIMIT}."
            raise InvalidError(message, pointer="/limit")


class Slice(msgspec.Struct, Generic[Item], frozen=True):
    """Part of a list, and the cursor of the part after it, if there is one."""

    items: list[Item]
    next: str | None = None


def browse(
    db: Connection,
    statement: Select[*tuple[Any, ...]],
    order: Sequence[Column[Any]],
    page: Page,
    *,
    newest_first: bool = False,
) -> Slice[RowMapping]:
    """Return one page of a statement's rows in the order of unique columns that it selects.

    Errors: InvalidError for the limit, InvalidCursorError for a cursor that this list never gave.
    """
    page.check()
    key = tuple_(*order)
    if page.cursor is not None:
        seen = tuple_(*_decode(page.cursor, order))
        statement = statement.where(key < seen if newest_first else key > seen)
    statement = statement.order_by(*(c.desc() if newest_first else c for c in order))
    rows = list(db.execute(statement.limit(page.limit + 1)).mappings())
    if len(rows) <= page.limit:
        return Slice(rows)
    items = rows[: page.limit]
    return Slice(items, _encode(order, [items[-1][column.name] for column in order]))


def _encode(order: Sequence[Column[Any]], key: Sequence[Any]) -> str:
    text = msgspec.json.encode([_list_name(order), *key])
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def _decode(cursor: str, order: Sequence[Column[Any]]) -> list[Any]:
    padded = cursor + "=" * (-len(cursor) % 4)
    try:
        name, *key = msgspec.json.decode(
            base64.b64decode(padded, altchars=b"-_", validate=True), type=list[str | int]
        )
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        raise InvalidCursorError(pointer="/cursor") from None
    is_ours = name == _list_name(order) and len(key) == len(order)
    if not is_ours or not all(_fits(value, c) for value, c in zip(key, order, strict=True)):
        raise InvalidCursorError(pointer="/cursor")
    return key


def _fits(value: str | int, column: Column[Any]) -> bool:
    if isinstance(value, int):
        return column.type.python_type is int and 0 < value <= _MAX_INTEGER
    return column.type.python_type is str


def _list_name(order: Sequence[Column[Any]]) -> str:
    return ",".join(str(column) for column in order)

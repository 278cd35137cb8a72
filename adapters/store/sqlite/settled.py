"""Settled commands by id: the newest in memory, all others through an index on disk.

Ids are random, so every entry of the index touches a page of its own. Entries are therefore added
thousands at a time, in the order of the index: a log of a million commands then takes the next
ones as fast as a new one. Nothing is lost with the memory: what is not indexed yet is read again
at the next start.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping

import msgspec

from ..rows import Settled
from .schema import insert

INDEXED_AT_ONCE = 16_384

# Ten digits are 40 bits of the id; what they leave open is decided by the id itself.
_BY_INDEX = """
SELECT commands.id, sha256, first, last
FROM json_each(?) AS asked CROSS JOIN command_index CROSS JOIN commands USING (number)
WHERE digits = substr(asked.value, 1, 10) AND commands.id = asked.value
"""
_INDEXED = "SELECT value FROM meta WHERE name = 'indexed'"
_NEWER = """
SELECT id, sha256, first, last FROM commands
WHERE number > (SELECT value FROM meta WHERE name = 'indexed')
"""
_INDEX = """
INSERT INTO command_index
SELECT substr(id, 1, 10), number FROM commands WHERE number > ? ORDER BY 1, 2
"""
_NOTE = "UPDATE meta SET value = ? WHERE name = 'indexed'"


def by_index(connection: sqlite3.Connection, ids: Collection[str]) -> dict[str, Settled]:
    """Return what the index knows of commands."""
    asked = msgspec.json.encode(list(ids)).decode()
    found = connection.execute(_BY_INDEX, (asked,)).fetchall()
    return {row[0]: Settled(*row[1:]) for row in found}


def newer(connection: sqlite3.Connection) -> dict[str, Settled]:
    """Return every command that the index does not have yet."""
    return {row[0]: Settled(*row[1:]) for row in connection.execute(_NEWER).fetchall()}


class Settlements:
    """Every settled command as the writer knows it; other threads look into `recent`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.recent = newer(connection)
        """What the index does not have yet."""
        self._indexed: int = connection.execute(_INDEXED).fetchone()[0]
        self._is_indexing = False

    def known(self, connection: sqlite3.Connection, ids: Collection[str]) -> dict[str, Settled]:
        """Return what is known of commands."""
        recent = self.recent
        here = {command: recent[command] for command in ids if command in recent}
        others = [command for command in ids if command not in here] if here else ids
        return by_index(connection, others) | here

    def write(self, connection: sqlite3.Connection, new: Mapping[str, Settled]) -> None:
        """Insert commands, and index them with those before once enough have gathered."""
        first = self._indexed + len(self.recent) + 1
        rows = [
            (n, id_, s.sha256, s.first, s.last) for n, (id_, s) in enumerate(new.items(), first)
        ]
        insert(connection, "commands", rows)
        self._is_indexing = len(self.recent) + len(new) >= INDEXED_AT_ONCE
        if self._is_indexing:
            connection.execute(_INDEX, (self._indexed,))
            connection.execute(_NOTE, (first + len(new) - 1,))

    def keep(self, new: Mapping[str, Settled]) -> None:
        """Remember what `write` has written, now that it is durable."""
        if self._is_indexing:
            self._indexed += len(self.recent) + len(new)
            # A new one, because a reader may be looking into the old one.
            self.recent = {}
        else:
            self.recent.update(new)

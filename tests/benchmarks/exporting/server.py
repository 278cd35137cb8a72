"""A server over a log in a process of its own; nothing follows the log, so that exports are alone.

Run as `python -m tests.benchmarks.exporting.server PLACE`, the URL of a database or a folder; it
says its port and a token, and ends when its standard input does.
"""

import asyncio
import io
import sys
import tempfile
from pathlib import Path

import msgspec

from shipslog.adapters.clock import SystemClock
from shipslog.adapters.store.postgres.store import PostgresStore
from shipslog.adapters.store.sqlite.store import SqliteStore
from shipslog.api.server import make_app
from shipslog.api.services import Services
from shipslog.api.signals import logs
from shipslog.api.wire.listener import Listener
from shipslog.domain.access import Role
from shipslog.domain.ledger import Door
from shipslog.projections import READ_MODELS
from shipslog.projections.follower import Follower, SqliteViews


async def serve(store: PostgresStore | SqliteStore, views: Path) -> None:
    """Serve a store until the standard input ends."""
    clock = SystemClock()
    services = Services(
        door=Door(store.log, clock, store.keyring),
        log=store.log,
        blobs=store.blobs,
        follower=Follower(store.log, SqliteViews(views / "views.db", READ_MODELS)),
        directory=store.directory,
        keyring=store.keyring,
        tokens=store.tokens,
        clock=clock,
    )
    subject = await store.directory.ensure("user", "auditor")
    token, _ = await store.tokens.create(subject, Role.AUDITOR)
    listener = Listener(make_app(services), services.limits)
    _, port = await listener.start("127.0.0.1", 0)
    sys.stdout.buffer.write(msgspec.json.encode({"port": port, "token": token}) + b"\n")
    sys.stdout.buffer.flush()
    await asyncio.to_thread(sys.stdin.read)
    await listener.stop()


async def main(place: str) -> None:
    """Open a store and serve it."""
    logs.configure(io.BytesIO())
    with tempfile.TemporaryDirectory() as views:
        if place.startswith("postgresql://"):
            shared = await PostgresStore.open(place)
            await serve(shared, Path(views))
            await shared.close()
        else:
            embedded = SqliteStore.open(Path(place))
            await serve(embedded, Path(views))
            embedded.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

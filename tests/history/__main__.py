"""Adds what is missing here from the ledger of a data folder."""

import sys
from pathlib import Path

from shipslog.adapters.store.sqlite.store import SqliteStore

from . import keep

archive = SqliteStore.read_only(Path(sys.argv[1]))
sys.stdout.writelines(f"added {name}\n" for name in keep(archive.log.scan()))
archive.close()

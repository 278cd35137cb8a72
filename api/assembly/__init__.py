"""The assembly: settings become everything, wired; the only part that constructs adapters.

`stores` opens the ledger on its engine, `houses` puts together what one process needs, and
`processes` runs it. `databases` makes, checks and upgrades what is opened; `own_server` is the
PostgreSQL that `up --postgres` brings along.
"""

from __future__ import annotations

from . import databases
from .documents import read_files
from .houses import house
from .own_server import located
from .processes import (
    run_agent,
    run_serve,
    run_up,
    run_up_on_own_server,
    run_worker,
    stop_agent,
)
from .stores import Archive, archive, views
from .witness import missing

__all__ = [
    "Archive",
    "archive",
    "databases",
    "house",
    "located",
    "missing",
    "read_files",
    "run_agent",
    "run_serve",
    "run_up",
    "run_up_on_own_server",
    "run_worker",
    "stop_agent",
    "views",
]

"""A newer build: a copy of the house in which an event has one field more, and a table an index."""

from __future__ import annotations

import shutil
from pathlib import Path

from shipslog.projections.follower.postgres import REVISION

from ..installation import ROOT

STARTED = '        TOPIC: ClassVar[str] = "deployment.started"\n'
STARTED_ANEW = f"{STARTED}        VERSION: ClassVar[int] = 2\n        pace: str = 'steady'\n"
UPCASTER = """
event.UPCASTERS["deployment.started", 1] = lambda payload: payload | {"pace": "steady"}
"""
MIGRATION = '''"""An index more."""

from alembic import op

revision = "{newer}"
down_revision = "{older}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("audit_command", "audit", ["command"])
'''
TOPIC_INDEX = 'Index("audit_topic", _C.topic)\n'
COMMAND_INDEX = 'Index("audit_command", _C.command)\n'
POSTGRES = "projections/follower/postgres"


def newer_build(folder: Path) -> Path:
    """Copy the house into a folder, change it, and return the folder."""
    house = folder / "shipslog"
    shutil.copytree(ROOT / "shipslog", house, ignore=shutil.ignore_patterns(".*"))
    deployment = house / "domain/deployment.py"
    _edit(deployment, STARTED, STARTED_ANEW)
    _edit(deployment, "from .event import", "from . import event\nfrom .event import")
    deployment.write_text(deployment.read_text() + UPCASTER)
    _edit(house / "projections/audit.py", TOPIC_INDEX, TOPIC_INDEX + COMMAND_INDEX)
    newer = f"{int(REVISION) + 1:04}"
    migration = house / POSTGRES / f"migrations/versions/v{newer}_an_index_more.py"
    migration.write_text(MIGRATION.format(older=REVISION, newer=newer))
    _edit(house / POSTGRES / "schema.py", f'REVISION = "{REVISION}"', f'REVISION = "{newer}"')
    return folder


def _edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1, file
    file.write_text(text.replace(old, new))

"""scripts/demo keeps its promise: it ends by itself, its last line counts, nothing is left."""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .installation import ROOT

pytestmark = pytest.mark.system


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        # Run by root, a database server is nobody, who has to get in.
        Path(folder).chmod(0o711)
        yield Path(folder)


@pytest.mark.parametrize("options", [(), ("--postgres",)], ids=["embedded", "on PostgreSQL"])
def test_the_demo_ends_well_and_its_last_line_counts(
    folder: Path, options: tuple[str, ...]
) -> None:
    environment = os.environ | {"TMPDIR": str(folder)}
    done = subprocess.run(
        ["scripts/demo", *options],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counted = json.loads(done.stdout.splitlines()[-1])
    assert set(counted) == {"requests", "failed", "switches", "rollback_seconds", "deployments"}
    assert (counted["failed"], counted["switches"], counted["deployments"]) == (0, 4, 4)
    assert counted["requests"] > 1000
    assert 0 <= counted["rollback_seconds"] < 1
    assert "left behind" not in done.stderr
    assert not list(folder.iterdir())
    assert ("kill -9" in done.stdout) == bool(options)

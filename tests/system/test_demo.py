"""scripts/demo keeps its promise: it ends by itself, its last line counts, nothing is left."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from .installation import ROOT

pytestmark = pytest.mark.system


def test_the_demo_ends_well_and_its_last_line_counts(tmp_path: Path) -> None:
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run(
        ["scripts/demo"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counted = json.loads(done.stdout.splitlines()[-1])
    assert set(counted) == {"requests", "failed", "switches", "rollback_seconds", "deployments"}
    assert (counted["failed"], counted["switches"], counted["deployments"]) == (0, 4, 4)
    assert counted["requests"] > 1000
    assert 0 <= counted["rollback_seconds"] < 1
    assert "left behind" not in done.stderr
    assert not list(tmp_path.iterdir())

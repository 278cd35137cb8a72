"""What scripts/test promises: nothing is left running, and a skip can be made a failure."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DETACHED = "setsid env --ignore-environment sleep 600 >/dev/null 2>&1 & echo $!"
TESTS = """
import pytest

@pytest.mark.skip(reason="no HAProxy")
def test_marked(): ...

def test_inside(): pytest.skip("no Chromium")

def test_expected(): pytest.skip("PostgreSQL 15: apt has none")

@pytest.mark.xfail
def test_known(): assert False
"""


def test_a_detached_process_is_found_and_ended() -> None:
    ran = leave_nothing("bash", "-c", DETACHED)
    assert ran.returncode == 1
    assert f"left behind and ended: {int(ran.stdout)} sleep 600" in ran.stderr
    with pytest.raises(ProcessLookupError):
        os.kill(int(ran.stdout), 0)


@pytest.mark.parametrize("code", [0, 5])
def test_a_command_that_leaves_nothing_keeps_its_exit_code(code: int) -> None:
    ran = leave_nothing("bash", "-c", f"sleep 0.05 & exit {code}")
    assert (ran.returncode, ran.stderr) == (code, "")


@pytest.mark.parametrize(
    ("required", "outcome"),
    [("0", "3 skipped, 1 xfailed"), ("1", "1 failed, 1 skipped, 1 xfailed, 1 error")],
)
def test_a_skip_is_a_failure_where_all_is_required(
    tmp_path: Path, required: str, outcome: str
) -> None:
    (tmp_path / "conftest.py").write_text((ROOT / "tests/conftest.py").read_text())
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    environment = os.environ | {"SHIPSLOG_TEST_REQUIRE_ALL": required}
    pytest_command = Path(sys.executable).with_name("pytest")
    ran = subprocess.run(
        [pytest_command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert outcome in ran.stdout.splitlines()[-1]


def leave_nothing(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "scripts/leave_nothing.py", *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

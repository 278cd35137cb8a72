"""A user's Python file that goes astray: it is ended, with all that it started."""

import time
from pathlib import Path

import pytest

from shipslog.adapters.documents.python_file import read_python
from shipslog.domain.errors import InvalidError


def test_a_file_that_does_not_end_is_ended_with_what_it_started(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.py"
    child = tmp_path / "child"
    file.write_text(
        "import subprocess, time\n"
        "sleeper = subprocess.Popen(['sleep', '600'])\n"
        f"open({str(child)!r}, 'w').write(str(sleeper.pid))\n"
        "time.sleep(600)\n"
    )
    with pytest.raises(InvalidError, match="was not done within 2 s"):
        read_python(file, seconds=2)
    ends_soon(int(child.read_text()))


def test_a_file_that_takes_all_memory_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.py"
    file.write_text("x = bytearray(2**40)\n")
    with pytest.raises(InvalidError, match=r"pipeline\.py:1: MemoryError"):
        read_python(file)


def test_a_file_that_says_too_much_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.py"
    file.write_text("while True:\n    print('x' * 1000)\n")
    with pytest.raises(InvalidError, match="File too large"):
        read_python(file)


def ends_soon(pid: int, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while is_running(pid):
        assert time.monotonic() < deadline, f"process {pid} still runs"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    # What has ended is a zombie until the first process of the machine looks after it.
    return stat.rpartition(")")[2].split()[0] != "Z"

"""Killed while it makes its data folder, at whatever step: the next start goes on (F1).

`SHIPSLOG_TEST_MOMENTS=all` takes every step, a number so many of them.
"""

import os
import re
import secrets
import shutil
import sys
import tomllib
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from shipslog.api.verbs.asking import ExitCode

from ..installation import SHIPSLOG, Installation
from .asking import Request, desk, faults_of

MOMENTS = os.environ.get("SHIPSLOG_TEST_MOMENTS") or "1"
SEED = os.environ.get("SHIPSLOG_TEST_SEED") or secrets.token_hex(4)
STEPS = "mkdir,chmod,fchmod,flock,pwrite64,fdatasync,fsync,ftruncate,rename,unlink"
"""Calls that leave something on the disk, or take hold of it."""
USUAL = {"mkdir": 4, "chmod": 2, "flock": 1, "ftruncate": 2, "fdatasync": 9, "pwrite64": 70}
"""About how often a thread makes them until a server is ready for the first time."""
_CALL = re.compile(r"(?P<thread>\d+) +(?P<name>\w+)\(")

pytestmark = pytest.mark.system


class Moment(NamedTuple):
    """The n-th time that a thread makes a call."""

    name: str
    number: int


async def test_a_first_start_that_is_killed_is_gone_on_with(tmp_path: Path) -> None:
    # F1
    if not shutil.which("strace"):
        pytest.skip("strace is not installed; scripts/test --install fetches it")
    sys.stderr.write(f"SHIPSLOG_TEST_SEED={SEED} takes the same moments\n")
    taken = steps(tmp_path / "whole") if MOMENTS == "all" else chosen(int(MOMENTS))
    died = [await dies_at(tmp_path / f"{moment.name}-{moment.number}", moment) for moment in taken]
    sys.stderr.write(f"{len(taken)} moments; at {sum(died)} it died before it was ready\n")


def steps(folder: Path) -> list[Moment]:
    """Return every moment of a first start that nothing befalls."""
    with installed(folder) as here:
        here.program = [*traced(folder / "calls"), SHIPSLOG]
        here.start()
        lines = (folder / "calls").read_text().splitlines()
    calls = filter(None, map(_CALL.match, lines))
    most: Counter[str] = Counter()
    for (_, name), times in Counter((one["thread"], one["name"]) for one in calls).items():
        most[name] = max(most[name], times)
    return moments(most)


def moments(most: Mapping[str, int]) -> list[Moment]:
    return [Moment(name, n) for name, times in most.items() for n in range(1, times + 1)]


def chosen(count: int) -> list[Moment]:
    return Random(SEED).sample(moments(USUAL), count)  # noqa: S311 - no secret


async def dies_at(folder: Path, moment: Moment) -> bool:
    """Let a first start die at a moment, and the next go on; say whether it was not ready yet."""
    with installed(folder) as here:
        fault = f"inject={moment.name}:signal=SIGKILL:when={moment.number}"
        here.program = [*traced(Path(os.devnull)), "-e", fault, SHIPSLOG]
        try:
            here.start()
        except AssertionError:
            has_died = True
        else:
            has_died = False
        here.kill()
        here.program = [SHIPSLOG]
        here.start()
        await works(here)
    assert not faults_of(here.data), moment
    return has_died


@contextmanager
def installed(folder: Path) -> Generator[Installation]:
    folder.mkdir()
    here = Installation(folder)
    try:
        yield here
    finally:
        # Nothing was deployed, so there is no agent to be ended.
        here.stop()


def traced(file: Path) -> list[str]:
    # Without --seccomp-bpf, under which strace delivers no signal.
    watching = ["strace", "-D", "-f", "-qq", "-o", str(file)]
    return [*watching, "-e", f"trace={STEPS}"]


async def works(here: Installation) -> None:
    """Let a command be carried out, by whom the first token was made out for, or a new one."""
    if not has_token(here):
        # It was made out, and its server was killed before it could say so.
        here.stop()
        made = here.run("token", "create", "root", "--role", "admin")
        assert made.returncode == ExitCode.DONE, made.stderr
        here.environment["SHIPSLOG_TOKEN"] = made.stdout.strip()
        here.start()
    async with desk(here) as people:
        await people.done(Request("PUT", "/v1/environments/first", {}, "first"))


def has_token(here: Installation) -> bool:
    return "token" in tomllib.loads((here.configuration / "shipslog/config.toml").read_text())

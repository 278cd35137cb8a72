"""The shim on its own: what it keeps of the output, and that nothing below it survives."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shipslog.adapters.platforms.processes import shim
from shipslog.adapters.platforms.processes.shim import Redactor

from .ground import eventually, is_running

KIB = 1024
PIPE = asyncio.subprocess.PIPE


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
@pytest.mark.parametrize(
    ("text", "secrets", "told"),
    [
        (b"a hunter2 b hunter2", [b"hunter2"], b"a *** b ***"),
        (b"hunter22 hunter hunte", [b"hunter", b"hunter2"], b"***2 *** hunte"),
        (b"xxabcxx abcabcd", [b"abcd", b"abc"], b"xx***xx ******"),
        (b"aaaaa", [b"aa"], b"******a"),
        (b"line\nof two\nlines", [b"line\nof", b""], b"*** two\nlines"),
        (b"nothing secret", [], b"nothing secret"),
        (b"a.c abc [", [b"a.c", b"["], b"*** abc ***"),
    ],
)
def test_a_secret_is_redacted_wherever_the_pieces_part(
    text: bytes, secrets: list[bytes], told: bytes, size: int
) -> None:
    redactor = Redactor(secrets)
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    assert b"".join((*map(redactor.pass_on, pieces), redactor.rest())) == told


async def test_what_an_instance_prints_stays_bounded_and_ends_with_the_newest(
    tmp_path: Path,
) -> None:
    script = "import os\nfor n in range(300_000): os.write(1, b'%d\\n' % n)\nprint('last')"
    async with kept(
        tmp_path, sys.executable, "-c", script, newest=True, limit=256 * KIB
    ) as process:
        told = await end_of(process)
    newest, older = (tmp_path / "out").read_bytes(), (tmp_path / "out.1").read_bytes()
    assert max(len(newest), len(older)) <= 128 * KIB
    assert (older + newest).endswith(b"299998\n299999\nlast\n")
    assert (told["truncated"], told["last"]) == (True, "last")


async def test_a_flood_takes_no_memory(tmp_path: Path) -> None:
    peaks: list[int] = []

    def ended() -> bool:
        with contextlib.suppress(FileNotFoundError):
            status = Path(f"/proc/{process.pid}/status").read_text()
            peaks.extend(int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line)
        return not is_running(process.pid)

    async with kept(tmp_path, "/usr/bin/yes", seconds=2, secrets=["needle"]) as process:
        await eventually(ended)
        assert (await end_of(process))["truncated"]
    assert len(peaks) > 10
    assert peaks[-1] < 32 * KIB


async def test_what_a_command_leaves_behind_ends_with_it(tmp_path: Path) -> None:
    script = "(setsid sh -c 'trap \"\" TERM; echo $$; while :; do sleep 9; done' &) ; sleep 0.3"
    async with kept(tmp_path, "/bin/sh", "-c", script, grace=0.2) as process:
        told = await end_of(process)
    assert (told["exit"], told["signal"]) == (0, None)
    assert not is_running(int((tmp_path / "out").read_text()))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_a_shim_that_is_ended_takes_its_command_along(
    tmp_path: Path, number: signal.Signals
) -> None:
    async with kept(tmp_path, "/bin/sleep", "300") as process:
        assert process.stdout
        told = msgspec.json.decode(await process.stdout.readline())
        os.kill(process.pid, number)
        await eventually(lambda: not is_running(told["pid"]))


async def test_a_full_disk_does_not_end_the_command(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("/dev/full")
    async with kept(tmp_path, "/bin/sh", "-c", "echo lost; exit 3") as process:
        told = await end_of(process)
    assert (told["exit"], told["truncated"], told["last"]) == (3, True, "lost")


async def test_a_secret_is_not_in_the_reason_either(tmp_path: Path) -> None:
    async with kept(tmp_path, "/bin/hunter2", secrets=["hunter2"]) as process:
        out, _ = await process.communicate()
    assert msgspec.json.decode(out) == {"error": "/bin/***: No such file or directory"}


@asynccontextmanager
async def kept(folder: Path, *argv: str, **spec: Any) -> AsyncGenerator[asyncio.subprocess.Process]:
    """Run a command below a shim, which is let go at the end."""
    plain: dict[str, Any] = {"secrets": [], "newest": False, "limit": 1024 * KIB, "seconds": 20}
    where: dict[str, Any] = {
        "argv": argv,
        "cwd": str(folder),
        "env": {},
        "output": str(folder / "out"),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", shim.__file__, stdin=PIPE, stdout=PIPE
    )
    assert process.stdin
    process.stdin.write(msgspec.json.encode({**plain, "grace": 2, **where, **spec}) + b"\n")
    yield process
    process.stdin.close()
    await process.wait()


async def end_of(process: asyncio.subprocess.Process) -> dict[str, Any]:
    """Return what the shim tells at the end."""
    assert process.stdout
    told = (await process.stdout.read()).splitlines()[-1]
    report: dict[str, Any] = msgspec.json.decode(told)
    return report

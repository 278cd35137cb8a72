"""What a client is told is on the disk before a byte of the answer is sent (F19)."""

import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from ..installation import SHIPSLOG, Installation
from .asking import desk, faults_of

WATCHED = "fdatasync,fsync,pwrite64,recvfrom,sendto,sendmsg,write,writev"
WAL = "ledger.db-wal"
_LINE = re.compile(r"(?P<pid>\d+) +(?P<rest>.*)")
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>")

pytestmark = pytest.mark.system


class Call(NamedTuple):
    """A system call, as it began and as it ended; one that never blocked has both in one line."""

    text: str
    is_begun: bool
    is_ended: bool


async def test_an_answer_is_sent_after_its_sync_has_returned(tmp_path: Path) -> None:
    # F19
    if not shutil.which("strace"):
        pytest.skip("strace is not installed; scripts/test --install fetches it")
    here, calls = Installation(tmp_path), tmp_path / "calls"
    here.program = ["strace", "-D", "-f", "-qq", "-y", "-s", "64", "-o", str(calls)]
    here.program += ["-e", f"trace={WATCHED}", "--seccomp-bpf", SHIPSLOG]
    try:
        here.start()
        async with desk(here) as people:
            commands = await people.commands(secrets.token_hex(4))
            for request in commands.values():
                await people.done(request)
    finally:
        here.end()
    exchanges = list(changes(list(trace(calls))))
    # Each command, and those that made everything ready for them.
    assert len(exchanges) >= 2 * len(commands)
    for exchange in exchanges:
        assert is_synced(exchange), "\n".join(call.text for call in exchange)
    assert not faults_of(here.data)


def trace(file: Path) -> Iterator[Call]:
    """Yield the calls in the order in which they were seen to begin and to end."""
    begun: dict[str, str] = {}
    for line in file.read_text(errors="replace").splitlines():
        if not (found := _LINE.fullmatch(line)):
            continue
        pid, rest = found["pid"], found["rest"]
        if rest.endswith("<unfinished ...>"):
            begun[pid] = rest.removesuffix("<unfinished ...>")
            yield Call(begun[pid], is_begun=True, is_ended=False)
        elif _RESUMED.match(rest):
            yield Call(begun.pop(pid, "") + _RESUMED.sub("", rest), is_begun=False, is_ended=True)
        else:
            yield Call(rest, is_begun=True, is_ended=True)


def changes(calls: Sequence[Call]) -> Iterator[Sequence[Call]]:
    """Yield what was called from the arrival of each change until its 2xx began to be sent."""
    arrived: int | None = None
    for at, call in enumerate(calls):
        if call.is_ended and re.match(r'recvfrom\(.*"(POST|PUT) /v1/', call.text):
            arrived = at
        elif call.is_begun and re.match(r'(send|write)\w*\(.*"HTTP/1\.1 2', call.text):
            if arrived is not None:
                yield calls[arrived : at + 1]
            arrived = None


def is_synced(exchange: Sequence[Call]) -> bool:
    """Say whether what was written to the log first is synced by the one thread that writes."""
    written = [n for n, call in enumerate(exchange) if is_of(call, "pwrite64")]
    synced = [n for n, call in enumerate(exchange) if is_of(call, "fdatasync", "fsync")]
    return bool(written) and any(
        at > written[0] and exchange[at].is_ended and exchange[at].text.rstrip().endswith("= 0")
        for at in synced
    )


def is_of(call: Call, *names: str) -> bool:
    return call.text.partition("(")[0] in names and WAL in call.text

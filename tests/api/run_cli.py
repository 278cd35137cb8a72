"""The command line in this process, or in one of its own behind a pipe or at a terminal."""

import asyncio
import io
import os
import pty
import sys
import tty
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

from shipslog.api import cli

SHIPSLOG = Path(sys.executable).with_name("shipslog")


class Ran(NamedTuple):
    """How a run of the command line ended, and what it wrote."""

    code: int
    out: str
    err: str


def run_here(arguments: Sequence[str], environ: dict[str, str]) -> Ran:
    """Run a verb in this process, with its environment and streams for as long as it lasts."""
    written = io.BytesIO()
    out, err = io.TextIOWrapper(written, encoding="utf-8"), io.StringIO()
    environment = patch.dict(os.environ, environ, clear=True)
    with environment, redirect_stdout(out), redirect_stderr(err):
        code = cli.run(arguments)
        out.flush()
    return Ran(code, written.getvalue().decode(), err.getvalue())


class Cli:
    """Starts the command line, and ends what a test leaves behind."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.environ = environ
        self._processes: list[asyncio.subprocess.Process] = []

    async def start(self, *arguments: str, **environ: str) -> asyncio.subprocess.Process:
        return await self._start(arguments, environ, asyncio.subprocess.PIPE)

    async def _start(
        self, arguments: tuple[str, ...], environ: dict[str, str], stdout: int
    ) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            SHIPSLOG,
            *arguments,
            env=self.environ | environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=stdout,
            stderr=asyncio.subprocess.PIPE,
        )
        self._processes.append(process)
        return process

    async def run(self, *arguments: str, **environ: str) -> Ran:
        return await asyncio.to_thread(run_here, arguments, self.environ | environ)

    async def run_bytes(self, *arguments: str) -> bytes:
        process = await self.start(*arguments)
        out, _ = await asyncio.wait_for(process.communicate(), 30)
        return out

    async def start_at_terminal(self, *arguments: str, **environ: str) -> asyncio.Task[Ran]:
        """Start with stdout on a terminal of 100 columns; what it shows is in `out`."""
        ours, theirs = pty.openpty()
        tty.setraw(theirs)
        terminal = {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
        process = await self._start(arguments, terminal | environ, theirs)
        os.close(theirs)
        return asyncio.create_task(_shown(process, ours))

    async def close(self) -> None:
        for process in self._processes:
            if process.returncode is None:
                process.kill()
                await process.communicate()


async def ended(process: asyncio.subprocess.Process) -> Ran:
    out, err = await asyncio.wait_for(process.communicate(), 30)
    return Ran(process.returncode or 0, (out or b"").decode(), err.decode())


async def _shown(process: asyncio.subprocess.Process, terminal: int) -> Ran:
    shown, (code, _, err) = await asyncio.gather(
        asyncio.to_thread(_read_all, terminal), ended(process)
    )
    return Ran(code, shown.decode(), err)


def _read_all(terminal: int) -> bytes:
    chunks: list[bytes] = []
    while True:
        try:
            chunk = os.read(terminal, 65_536)
        except OSError:  # Linux says EIO when the last program has let go of it
            chunk = b""
        if not chunk:
            os.close(terminal)
            return b"".join(chunks)
        chunks.append(chunk)

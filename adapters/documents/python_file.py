"""A user's Python file to documents: it runs in a child that is limited in all it could use up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from ...domain.errors import (
    DigestRequiredError,
    InvalidCommandError,
    InvalidError,
    NotAvailableError,
)
from .written import MAX_BYTES, WrittenDocument, placed, unreadable

SECONDS = 20.0
"""How long a file may take to say its documents."""
_TOLD = 2000
_ERRORS = {
    kind.slug: kind for kind in (InvalidCommandError, DigestRequiredError, NotAvailableError)
}


def read_python(path: Path, seconds: float = SECONDS) -> list[WrittenDocument]:
    """Run a file and return the documents among its names; InvalidError with its file and line."""
    file = str(path)
    if not path.is_file():
        raise unreadable(file, None, "There is no such file.")
    with TemporaryFile() as answer, TemporaryFile() as talk:
        code = _run(path, answer, talk, seconds)
        if code is None:
            raise unreadable(file, None, f"It was not done within {seconds:g} s.")
        try:
            said: dict[str, Any] = json.loads(_read(answer))
        except ValueError:
            told = _read(talk).decode(errors="replace")[-_TOLD:].strip()
            raise unreadable(file, None, f"It ended with {code}. {told}".strip()) from None
    if "fault" in said:
        raise _refused(file, said["fault"])
    return [WrittenDocument(file, fields) for fields in said["documents"]]


def _run(path: Path, answer: IO[bytes], talk: IO[bytes], seconds: float) -> int | None:
    command = [sys.executable, "-IB", "-m", "shipslog.adapters.documents.collect", str(path)]
    # A token or a key in our own environment is none of the file's business.
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "PATH") if name in os.environ}
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=answer,
        stderr=talk,
        env=kept,
        start_new_session=True,
    )
    try:
        return child.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        _end(child)


def _end(child: subprocess.Popen[bytes]) -> None:
    # Also what the file started and left behind: the group outlives its leader.
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _read(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read(8 * MAX_BYTES)


def _refused(file: str, fault: dict[str, Any]) -> InvalidError:
    pointer = fault.get("pointer", "")
    kind = _ERRORS.get(fault["slug"], InvalidError)
    message = placed(file, fault["line"], pointer, fault["detail"])
    return kind(message, pointer=pointer, file=file, line=fault["line"])

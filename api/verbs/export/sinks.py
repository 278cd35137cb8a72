"""Sinks: where an export goes, so that nothing half looks whole."""

from __future__ import annotations

import fcntl
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import BinaryIO, Protocol

from ....domain.errors import ConflictError, InvalidError
from ....projections.exports import Content, Format, MalformedLineError, Tally, read_partial
from ...terminal import output

BLOCK = 1024 * 1024
SHOWN_SECONDS = 0.2


class WrittenAlreadyError(ConflictError):
    """Another process is writing {path}."""


class NotResumableError(InvalidError):
    """{path} is no part of an export ({detail}); without --resume it is written anew."""


class Sink(Protocol):
    """Takes an export in whole lines."""

    size: int
    """Bytes taken, also by an earlier process."""
    last: int | None
    """The position up to which it had come when it was opened."""

    def write(self, lines: bytes) -> None:
        """Take the next lines."""
        ...

    def content(self) -> Content:
        """Return how many bytes it has taken, and their hash."""
        ...


class Stdout:
    """The standard output, which nothing can be taken back from."""

    def __init__(self) -> None:
        self.size = 0
        self.last: int | None = None
        self._tally = Tally()

    def write(self, lines: bytes) -> None:
        """Implement `Sink.write`."""
        output.put_bytes(lines)
        self.size += len(lines)
        self._tally.add(lines)

    def content(self) -> Content:
        """Implement `Sink.content`."""
        return self._tally.content


class PartFile:
    """A file that has its name only once it is whole; until then it is `NAME.KEY.part`.

    The key stands for what was asked of which log, so that parts of two exports never mix.
    """

    def __init__(self, path: Path, key: str, made: Format, *, resume: bool) -> None:
        self._path = path
        self.part = path.with_name(f"{path.name}.{key}.part")
        self._file = _open_alone(self.part)
        try:
            partial = read_partial(self._file, made) if resume else None
        except MalformedLineError as error:
            self._file.close()
            raise NotResumableError(path=str(self.part), detail=str(error)) from error
        self.size = partial.size if partial else 0
        self.last = partial.last if partial else None
        self._file.truncate(self.size)
        self._file.seek(self.size)
        self._progress = Progress()

    def write(self, lines: bytes) -> None:
        """Implement `Sink.write`."""
        self._file.write(lines)
        self.size += len(lines)
        self._progress.show(self.size)

    def content(self) -> Content:
        """Implement `Sink.content`: what can be read again is what counts."""
        tally = Tally()
        self._file.seek(0)
        while block := self._file.read(BLOCK):
            tally.add(block)
        return tally.content

    def keep(self) -> None:
        """Give the file its name, once it is durable."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self.part.replace(self._path)
        _sync_folder(self._path.parent)

    def drop(self) -> None:
        """Forget what has come."""
        self.size = 0

    def close(self) -> None:
        """Leave what has come to be resumed; what is nothing is no part."""
        self._progress.end()
        if not self.size:
            self.part.unlink(missing_ok=True)
        elif self.part.exists():
            output.say(f"{self.part} holds {self.size} bytes; --resume goes on with them")
        self._file.close()


class Progress:
    """How much has come, for a person at a terminal."""

    def __init__(self) -> None:
        self._is_shown = sys.stderr.isatty()
        self._next = 0.0

    def show(self, size: int) -> None:
        """Say it, if the last time is a while ago."""
        if self._is_shown and time.monotonic() >= self._next:
            self._next = time.monotonic() + SHOWN_SECONDS
            self._put(f"{size / 1e6:,.1f} MB")

    def end(self) -> None:
        """Leave an empty line."""
        if self._is_shown:
            self._put("")

    @staticmethod
    def _put(text: str) -> None:
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


def write_whole(path: Path, content: bytes) -> None:
    """Write a small file at once, durably, in the place of what was there."""
    descriptor, name = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), 0o666 & ~_umask())
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _open_alone(path: Path) -> BinaryIO:
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "r+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise WrittenAlreadyError(path=str(path)) from error
    return file


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

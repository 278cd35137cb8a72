"""Log lines: one JSON object a line on stderr, secrets redacted, no control character unescaped."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sys
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii
from typing import Any, BinaryIO, NamedTuple, cast

import structlog
from aiohttp.http_exceptions import HttpProcessingError
from structlog.typing import EventDict, FilteringBoundLogger

_SECRET = re.compile(r"slp_[A-Za-z0-9_-]+|(?i:bearer)\s+[^\s\"\\]+")
_SECRET_KEYS = frozenset({"authorization", "password", "secret", "token"})
_ENCODER = json.JSONEncoder(default=str, separators=(",", ":"))
_quoted = encode_basestring_ascii
_FILES: list[BinaryIO] = []
"""Where `note` writes; empty until configured, and above its level."""
_REQUESTS: list[str] = []
"""Lines that wait for the end of this turn of the loop."""
_LIBRARIES = ("aiohttp", "asyncio")


class Line(NamedTuple):
    """What is said of every request; `path` without its query: a person may put a token there."""

    method: str
    path: str
    status: int
    seconds: float
    remote: str | None
    instance: str | None = None


def configure(file: BinaryIO | None = None, level: int = logging.INFO) -> None:
    """Let everything of this process log to a file of bytes, by default stderr."""
    written = file or sys.stderr.buffer
    _REQUESTS.clear()
    _FILES[:] = [written] if level <= logging.INFO else []
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            structlog.processors.format_exc_info,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.BytesLoggerFactory(written),
        cache_logger_on_first_use=False,
    )
    for name in _LIBRARIES:
        library = logging.getLogger(name)
        library.handlers = [_Forward()]
        library.propagate = False
        library.setLevel(logging.WARNING)


def note_request(line: Line) -> None:
    """Write a line of a request."""
    path = _quoted(line.path).replace("\x7f", "\\u007f")
    instance = f',"instance":"{line.instance}"' if line.instance else ""
    about = (
        f'"method":{_quoted(line.method)},"path":{path},"status":{line.status},'
        f'"ms":{line.seconds * 1000:.2f},"remote":{_quoted(line.remote or "")}{instance}'
    )
    _note(_SECRET.sub("[redacted]", about))


def note_read(path: str, status: int, seconds: float, remote: str | None) -> None:
    """Write the same line of a GET in less time; `path` is one of ours, with nothing to escape."""
    _note(
        f'"method":"GET","path":"{path}","status":{status},'
        f'"ms":{seconds * 1000:.2f},"remote":{_quoted(remote or "")}'
    )


def get(name: str) -> FilteringBoundLogger:
    """Return the logger of a part of the house; it follows `configure` whenever that is called."""
    return cast("FilteringBoundLogger", structlog.get_logger(part=name))


def render(_logger: object, _method: str, event: EventDict) -> bytes:
    """Return a line: ASCII only, so that nothing in a value can end it or move a cursor."""
    for key in _SECRET_KEYS & event.keys():
        event[key] = "[redacted]"
    line = _ENCODER.encode(event)
    return _SECRET.sub("[redacted]", line).encode().replace(b"\x7f", b"\\u007f")


def _note(about: str) -> None:
    if not _FILES:
        return
    if not _REQUESTS:
        # Those of one turn of the loop go out together.
        asyncio.get_running_loop().call_soon(_write_requests)
    at = datetime.now(UTC).isoformat()
    _REQUESTS.append(f'{{"event":"request","level":"info","at":"{at}","part":"http",{about}}}\n')


def _write_requests() -> None:
    lines = "".join(_REQUESTS)
    _REQUESTS.clear()
    if _FILES:
        _FILES[0].write(lines.encode())
        _FILES[0].flush()


class _Forward(logging.Handler):
    """Hands what a library logs to our own log."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            # Its message quotes the request, which may hold anything.
            get("http").info("unreadable request", error=type(error).__name__)
            return
        more: dict[str, Any] = {"exc_info": record.exc_info} if error else {}
        get(record.name).log(record.levelno, record.getMessage(), **more)

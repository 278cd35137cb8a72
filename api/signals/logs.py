"""Log lines: one JSON object a line on stderr, secrets redacted, no control character unescaped."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any, BinaryIO, cast

import structlog
from aiohttp.http_exceptions import HttpProcessingError
from structlog.typing import EventDict, FilteringBoundLogger

_SECRET = re.compile(r"slp_[A-Za-z0-9_-]+|(?i:bearer)\s+[^\s\"\\]+")
_SECRET_KEYS = frozenset({"authorization", "password", "secret", "token"})
_ENCODER = json.JSONEncoder(default=str, separators=(",", ":"))
_FILES: list[BinaryIO] = []
"""Where `note` writes; empty until configured, and above its level."""
_LIBRARIES = ("aiohttp", "asyncio")


def configure(file: BinaryIO | None = None, level: int = logging.INFO) -> None:
    """Let everything of this process log to a file of bytes, by default stderr."""
    written = file or sys.stderr.buffer
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


def note(event: str, fields: dict[str, Any]) -> None:
    """Write a line of level info the short way, for what is said of every request."""
    if _FILES:
        at = datetime.now(UTC).isoformat()
        line = render(None, "info", {"event": event, "level": "info", "at": at, **fields})
        _FILES[0].write(line + b"\n")
        _FILES[0].flush()


def get(name: str) -> FilteringBoundLogger:
    """Return the logger of a part of the house; it follows `configure` whenever that is called."""
    return cast("FilteringBoundLogger", structlog.get_logger(part=name))


def render(_logger: object, _method: str, event: EventDict) -> bytes:
    """Return a line: ASCII only, so that nothing in a value can end it or move a cursor."""
    for key in _SECRET_KEYS & event.keys():
        event[key] = "[redacted]"
    line = _ENCODER.encode(event)
    return _SECRET.sub("[redacted]", line).encode().replace(b"\x7f", b"\\u007f")


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

"""Settings: what the environment says about this installation, read once, frozen."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from ..domain.errors import InvalidError

DEFAULT_LISTEN = "127.0.0.1:8470"
"""Where `up` listens unless told otherwise; only this machine reaches it."""
DEFAULT_URL = f"http://{DEFAULT_LISTEN}"
LAST_PORT = 65_535
LEAST_LEASE_SECONDS = 1.0
"""A shorter one would end while its worker waits for a busy machine."""

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)?")
_ADDRESS = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^:\[\]]+):(?P<port>[0-9]{1,5})")


class BadSettingError(InvalidError):
    """{name} is {value}, which is not {expected}."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where things are and how long a lease lasts."""

    data: Path
    """The data folder of the embedded store, absolute."""
    postgres: str | None = field(default=None, repr=False)
    """The URL of a PostgreSQL database, maybe with a password; None for the embedded store."""
    lease_seconds: float = 15.0
    roots: tuple[Path, ...] = ()
    """Folders under which a pipeline's source may lie, absolute."""
    host: str = "127.0.0.1"
    port: int = 8470
    """0 takes a free one."""


def from_environment(
    environ: Mapping[str, str] = os.environ, *, listen: str | None = None, data: Path | None = None
) -> Settings:
    """Return the settings of `SHIPSLOG_DATA`, `_DATABASE_URL`, `_LEASE` and `_ROOTS`.

    `listen` (`HOST:PORT`) and `data` are what the command line said; they win.
    Errors: BadSettingError for a value that cannot be read.
    """
    url = environ.get("SHIPSLOG_DATABASE_URL", "")
    host, port = _address(listen or DEFAULT_LISTEN)
    folder = _data_folder(url, environ)
    return Settings(
        data=data.absolute() if data else folder,
        postgres=url if _is_postgres(url) else None,
        lease_seconds=_seconds("SHIPSLOG_LEASE", environ.get("SHIPSLOG_LEASE", "15s")),
        roots=_roots(environ),
        host=host,
        port=port,
    )


def seconds(text: str) -> float:
    """Return the seconds of `500ms`, `90s`, `5m`, `2h`, `30d` or a number; ValueError otherwise."""
    read = _DURATION.fullmatch(text)
    if read is None:
        message = f"{text!r} is no duration such as 500ms, 90s, 5m or 2h"
        raise ValueError(message)
    return float(read[1]) * _UNITS[read[2] or "s"]


def _is_postgres(url: str) -> bool:
    return url.startswith(("postgresql://", "postgres://"))


def _data_folder(url: str, environ: Mapping[str, str]) -> Path:
    folder = environ.get("SHIPSLOG_DATA")
    if not url or _is_postgres(url):
        named = Path(folder).expanduser().absolute() if folder else None
        return named or platformdirs.user_data_path("shipslog")
    if not (url.startswith("sqlite:///") and url.endswith("/ledger.db")):
        scheme = url.partition(":")[0]  # not the rest: it may hold a password
        expected = "sqlite:///FOLDER/ledger.db or postgresql://…"
        raise BadSettingError(name="SHIPSLOG_DATABASE_URL", value=f"{scheme}:…", expected=expected)
    named = Path(url.removeprefix("sqlite:///")).absolute().parent
    return Path(folder).expanduser().absolute() if folder else named


def _address(listen: str) -> tuple[str, int]:
    read = _ADDRESS.fullmatch(listen)
    if read is None or int(read["port"]) > LAST_PORT:
        raise BadSettingError(name="--listen", value=listen, expected="HOST:PORT")
    return read["host"].strip("[]"), int(read["port"])


def _seconds(name: str, text: str) -> float:
    try:
        if (lasts := seconds(text)) >= LEAST_LEASE_SECONDS:
            return lasts
    except ValueError:
        pass
    raise BadSettingError(name=name, value=text, expected="a duration of at least 1s, such as 15s")


def _roots(environ: Mapping[str, str]) -> tuple[Path, ...]:
    if "SHIPSLOG_ROOTS" in environ:
        listed = environ["SHIPSLOG_ROOTS"].split(os.pathsep)
        return tuple(Path(root).expanduser().absolute() for root in listed if root)
    return (Path.home(), Path.cwd())

"""The user's configuration: which server the other verbs ask, and with which token."""

from __future__ import annotations

import json
import os
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from ..domain.errors import InvalidError
from .settings import DEFAULT_URL


class BadConfigError(InvalidError):
    """The configuration {path} cannot be read: {detail}."""


@dataclass(frozen=True)
class Server:
    """Where a server is, and what it is asked with."""

    url: str
    token: str | None = None
    data: str | None = None
    """Its data folder, where it runs on this machine; the token is one of that store's."""


def path() -> Path:
    """Return where the configuration lies."""
    return platformdirs.user_config_path("shipslog") / "config.toml"


def server(environ: Mapping[str, str] = os.environ) -> Server:
    """Return the server of `SHIPSLOG_URL` and `SHIPSLOG_TOKEN`, else of the configuration.

    A stored token goes to the server it was stored for and to no other.
    Errors: BadConfigError.
    """
    known = stored()
    url = (environ.get("SHIPSLOG_URL") or known.url).rstrip("/")
    token = environ.get("SHIPSLOG_TOKEN") or (known.token if url == known.url else None)
    return Server(url, token.strip() if token else None)


def remember(server: Server) -> Path:
    """Store a server as the one that is asked from now on, readable by its owner alone.

    The token that is stored for the same data folder is kept where none is given.
    """
    token = server.token
    if token is None and (before := stored()).data == server.data:
        token = before.token
    fields = {"url": server.url, "token": token, "data": server.data}
    # JSON's strings are TOML's.
    text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in fields.items() if value)
    _replace(path(), text)
    return path()


def stored() -> Server:
    """Return what the configuration says; BadConfigError where it cannot be read."""
    try:
        document = tomllib.loads(path().read_text())
    except FileNotFoundError:
        return Server(DEFAULT_URL)
    except (OSError, ValueError) as error:
        raise BadConfigError(path=path(), detail=error) from None
    url = str(document.get("url", DEFAULT_URL)).rstrip("/")
    return Server(url, document.get("token"), document.get("data"))


def _replace(place: Path, text: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    # mkstemp makes it 0600 before the token is in it.
    handle, draft = tempfile.mkstemp(dir=place.parent, prefix=".config-")
    with os.fdopen(handle, "w") as file:
        file.write(text)
    Path(draft).replace(place)

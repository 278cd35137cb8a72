"""LocalSecretStore: secrets from the server's own environment and from files on its machine."""

from __future__ import annotations

import os
from pathlib import Path

from ...domain.errors import SecretMissingError

MAX_BYTES = 64 * 1024


class LocalSecretStore:
    """Implements `SecretStore` for `env:NAME` and `file:PATH`."""

    def resolve(self, reference: str) -> str:
        """Return a value; a file's last newline is no part of it. Errors: SecretMissingError."""
        kind, _, name = reference.partition(":")
        value = os.environ.get(name) if kind == "env" else _read(name) if kind == "file" else None
        if value is None:
            raise SecretMissingError(reference=reference)
        return value


def _read(path: str) -> str | None:
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError:
        return None
    if len(content) > MAX_BYTES:
        return None
    try:
        return content.decode().removesuffix("\n")
    except UnicodeDecodeError:
        return None

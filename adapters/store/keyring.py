"""Keyring: personal texts under one AES-256-GCM key per subject, whose destruction erases them."""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection, Mapping
from typing import NamedTuple, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ...domain.event import Sealed
from .errors import DamagedTextError

KEY_BITS = 256
NONCE_BYTES = 12
ID_BYTES = 16


class Key(NamedTuple):
    """A subject's key; `id` stands in every text sealed with it."""

    id: str
    secret: bytes


class KeyTable(Protocol):
    """Where a store keeps its keys."""

    async def newest(self, subject: str) -> Key | None:
        """Return a subject's key, or None where it has none or none any more."""
        ...

    async def secrets(self, key_ids: Collection[str]) -> Mapping[str, bytes]:
        """Return the secrets of those of the keys that are not destroyed."""
        ...

    async def keep(self, subject: str, key: Key) -> Key:
        """Store a subject's first key durably; where it has one by now, return that one."""
        ...


class Keyring:
    """Seals texts for subjects, and opens them while the subject's key exists."""

    def __init__(self, table: KeyTable) -> None:
        self._table = table

    async def seal(self, subject: str, text: str) -> Sealed:
        """Return a text sealed under its subject's key, which is durable before this returns."""
        key = await self._table.newest(subject) or await self._table.keep(subject, new_key())
        nonce = secrets.token_bytes(NONCE_BYTES)
        ciphertext = AESGCM(key.secret).encrypt(nonce, text.encode(), key.id.encode())
        return Sealed(key.id, _text(nonce), _text(ciphertext))

    async def open(self, sealed: Collection[Sealed]) -> Mapping[Sealed, str | None]:
        """Return the texts, None for each whose key is destroyed.

        Errors: DamagedTextError where a key is there and does not fit.
        """
        if not sealed:
            return {}
        kept = await self._table.secrets({one.key for one in sealed})
        return {one: _opened(one, kept[one.key]) if one.key in kept else None for one in sealed}


def new_key() -> Key:
    """Return a fresh random key under a fresh random id."""
    return Key(_text(secrets.token_bytes(ID_BYTES)), AESGCM.generate_key(KEY_BITS))


def _opened(sealed: Sealed, secret: bytes) -> str:
    try:
        nonce, ciphertext = _bytes(sealed.nonce), _bytes(sealed.ciphertext)
        return AESGCM(secret).decrypt(nonce, ciphertext, sealed.key.encode()).decode()
    except (InvalidTag, ValueError) as error:
        raise DamagedTextError(key=sealed.key) from error


def _text(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))

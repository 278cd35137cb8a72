"""Bearer tokens as text: `slp_`, 30 random digits and 6 of checksum, all base 62.

The checksum lets a scanner, and us, tell a token from what only looks like one without a look-up.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib

PREFIX = "slp_"
RANDOM_DIGITS = 30
"""178 bits, so that a plain SHA-256 is all that has to be stored."""
CHECK_DIGITS = 6

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_FORM = re.compile(rf"{PREFIX}([0-9A-Za-z]{{{RANDOM_DIGITS}}})([0-9A-Za-z]{{{CHECK_DIGITS}}})")


def new_token() -> str:
    """Return a fresh token."""
    body = "".join(secrets.choice(_ALPHABET) for _ in range(RANDOM_DIGITS))
    return PREFIX + body + _checksum(body)


def is_token(text: str) -> bool:
    """Say whether a text has the form of a token and its checksum fits."""
    form = _FORM.fullmatch(text)
    return form is not None and _checksum(form[1]) == form[2]


def fingerprint(token: str) -> bytes:
    """Return the SHA-256 under which a token is stored."""
    return hashlib.sha256(token.encode()).digest()


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = ""
    for _ in range(CHECK_DIGITS):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits

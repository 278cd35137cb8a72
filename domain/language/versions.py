"""Versions and artifacts, as a request names them."""

from __future__ import annotations

import re

import semver
from packaging.version import InvalidVersion, Version

from ..errors import DigestRequiredError, InvalidError

MAX_ARTIFACT = 512

# Without - in front, so that no program takes a version for an option.
_VISIBLE = re.compile(r"(?!-)[!-~]{1,128}")
_BARE_DIGEST = re.compile(r"(sha|md)[0-9]+:")
_ARTIFACT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:+-]*@sha256:[0-9a-f]{64}")


def check_version(version: str, versioning: str, pointer: str = "/version") -> None:
    """Raise InvalidError unless a version is one under `semver`, `pep440` or `any`."""
    message = None
    if not _VISIBLE.fullmatch(version):
        message = "A version is 1 to 128 visible ASCII characters, the first of them no -."
    elif versioning == "semver" and not semver.Version.is_valid(version):
        message = "This is no semantic version, such as 1.4.0 or 2.0.0-rc.1."
    elif versioning == "pep440" and not _is_pep440(version):
        message = "This is no PEP 440 version, such as 1.4 or 2.0rc1."
    if message:
        raise InvalidError(message, pointer=pointer)


def check_artifact(artifact: str, pointer: str = "/artifact") -> None:
    """Raise unless an artifact is `name@sha256:<64 lower-case hex digits>`.

    Errors: DigestRequiredError for a name or tag alone, InvalidError for any other digest.
    """
    if "@" not in artifact and not _BARE_DIGEST.match(artifact):
        raise DigestRequiredError(pointer=pointer)
    if len(artifact) > MAX_ARTIFACT or not _ARTIFACT.fullmatch(artifact):
        message = "An artifact is name@sha256: and 64 lower-case hex digits."
        raise InvalidError(message, pointer=pointer)


def _is_pep440(version: str) -> bool:
    try:
        Version(version)
    except InvalidVersion:
        return False
    return True

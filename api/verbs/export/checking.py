"""Checking an export against its manifest, without server and store."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ....domain.errors import InvalidError
from ....projections.exports import Manifest, check
from ...terminal import output
from ..asking import ExitCode


class NoManifestError(InvalidError):
    """{path} is no manifest of an export: {detail}."""


def check_file(file: Path, manifest: Path, *, as_json: bool) -> ExitCode:
    """Say in what a file is not what its manifest says; 1 if in anything."""
    told = _read(manifest)
    with file.open("rb") as content:
        faults = [msgspec.to_builtins(fault) for fault in check(content, told)]
    if as_json:
        output.put_json({"manifest": msgspec.to_builtins(told), "faults": faults})
    else:
        output.put_table(("POSITION", "FAULT"), [tuple(fault.values()) for fault in faults])
        output.say(_sentence(told, len(faults)))
    return ExitCode.FAILED if faults else ExitCode.DONE


def _read(path: Path) -> Manifest:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NoManifestError(path=str(path), detail=str(error)) from error


def _sentence(told: Manifest, faults: int) -> str:
    if faults:
        return f"{faults} faults: this is not what the manifest says"
    counts, positions = told.counts, told.positions
    return (
        f"{counts.events} events, positions {positions.first} to {positions.last},"
        f" {counts.matched} match: as the manifest says"
    )

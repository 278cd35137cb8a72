"""A disk of a few megabytes, to be filled and emptied again."""

from __future__ import annotations

import subprocess
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

BALLAST = "ballast"
PIECE = 4096
"""A page, which is what a disk in memory gives."""


@contextmanager
def small_disk(folder: Path, size: str) -> Generator[Path]:
    """Give a folder that holds so much, `8m` for instance, and not a byte more."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0711", "tmpfs", str(folder)],
        check=False,
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f"no disk of its own can be had: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> None:
    """Leave no room at all."""
    with (disk / BALLAST).open("ab", buffering=0) as ballast, suppress(OSError):
        while True:
            ballast.write(bytes(PIECE))


def free(disk: Path) -> None:
    """Make room again."""
    (disk / BALLAST).unlink()

"""Files that survive a crash: whole or as before, and on the disk when the call returns."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def replace(path: Path, content: bytes) -> None:
    """Give a file new content in one step."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with open(fresh, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    sync_folder(path.parent)


def make_folder(path: Path) -> None:
    """Make a folder and those above it; again: nothing."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
        sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make what was created, renamed or removed in a folder durable."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

"""Which commands were started and how they ended, by effect key: one synced file each.

`started` is on the disk before the command is, so that no key ever starts a second one; what was
started and has no end was lost with the agent that kept it. A key that was stopped before anything
came of it has an entry too: it stands in the way of what arrives late, for as long as anything is
known of its deployment. Until that is forgotten other holders have had the target, under higher
fences.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path

import msgspec

from ....domain.errors import StateConflictError
from ....domain.ports import Effect, Ended
from . import durable


class Entry(msgspec.Struct, frozen=True):
    """What is known of one effect key; the output stands in a file of its own."""

    key: str
    ended: Ended | None = None


LOST = Ended(exit_code=None, signal=None, timed_out=False, output=b"", truncated=False, lost=True)


class Journal:
    """A folder for each deployment, below its target's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def begin(self, effect: Effect) -> Ended | None:
        """Note that a command is about to start, or return how the one of this key ended."""
        path = self._path(effect)
        if path.exists():
            entry = msgspec.json.decode(path.read_bytes(), type=Entry)
            return self._with_output(effect, entry.ended) if entry.ended else LOST
        durable.make_folder(path.parent)
        durable.replace(path, msgspec.json.encode(Entry(str(effect.key))))
        return None

    def finish(self, effect: Effect, ended: Ended) -> Ended:
        """Note how it ended, and return that with the output that was kept."""
        durable.replace(self._path(effect), msgspec.json.encode(Entry(str(effect.key), ended)))
        return self._with_output(effect, ended)

    def require_open(self, effect: Effect) -> None:
        """Pass where nothing is known of a key that starts no command.

        Errors: StateConflictError: it was stopped.
        """
        if self._path(effect).exists():
            message = f"{effect.key} was stopped before this arrived"
            raise StateConflictError(message)

    def output(self, effect: Effect) -> Path:
        """Return the file that holds what the command prints."""
        return self._path(effect).with_suffix(".out")

    def forget(self, target: str, deployments: Iterable[str]) -> None:
        """Delete what is known of some of a target's deployments."""
        for deployment in deployments:
            path = self._folder / target / deployment
            if path.is_dir():
                shutil.rmtree(path)

    def _path(self, effect: Effect) -> Path:
        name = hashlib.sha256(str(effect.key).encode()).hexdigest()[:32]
        return self._folder / effect.target / effect.key.deployment / f"{name}.json"

    def _with_output(self, effect: Effect, ended: Ended) -> Ended:
        path = self.output(effect)
        output = path.read_bytes() if path.exists() else b""
        return msgspec.structs.replace(ended, output=output)

"""Workspaces: a copy of the source for each deployment, in a folder below its target's."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from ....domain.errors import InvalidError


class Workspaces:
    """`<target>/<deployment>/`: `files` is the working directory, beside it `tmp` and `logs`."""

    def __init__(self, folder: Path, data: Path) -> None:
        self._folder = folder
        self._data = data.resolve()
        self._unfinished = folder / ".unfinished"
        self._is_closed = False
        _remove(self._unfinished)
        self._unfinished.mkdir(parents=True, mode=0o700)

    def path(self, target: str, workspace: str) -> Path:
        """Return where a workspace is, or would be."""
        return self._folder / target / workspace

    def prepare(self, target: str, workspace: str, source: str | None) -> None:
        """Make a workspace in one step: a copy of `source`, or empty; again: nothing.

        Errors: InvalidError for a source that cannot be copied as it is; OSError.
        """
        path = self.path(target, workspace)
        if path.exists():
            return
        fresh = self._unfinished / secrets.token_hex(8)
        try:
            for name in ("files", "tmp", "logs"):
                (fresh / name).mkdir(parents=True, mode=0o700)
            if source is not None:
                self._copy(Path(source), fresh / "files")
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _rename_unless_there(fresh, path)
        finally:
            _remove(fresh)

    def forget(self, target: str, workspaces: Iterable[str]) -> None:
        """Delete some of a target's workspaces."""
        for workspace in workspaces:
            path = self.path(target, workspace)
            if path.is_dir():
                gone = self._unfinished / secrets.token_hex(8)
                path.rename(gone)
                _remove(gone)

    def close(self) -> None:
        """End copies under way, as errors."""
        self._is_closed = True

    def _copy(self, source: Path, to: Path) -> None:
        if not source.is_dir():
            raise _invalid(source, "is no folder")
        shutil.copytree(
            source,
            to,
            symlinks=True,
            ignore=self._our_own,
            copy_function=self._copy_file,
            dirs_exist_ok=True,
        )
        for link in _links(to):
            if Path(link.readlink()).is_absolute() or not link.resolve().is_relative_to(
                to.resolve()
            ):
                raise _invalid(source / link.relative_to(to), "is a link that points outside")

    def _our_own(self, folder: str, names: list[str]) -> set[str]:
        """Leave the data folder out: the copy stands in it and would never end."""
        return {name for name in names if Path(folder, name).resolve() == self._data}

    def _copy_file(self, source: str, to: str) -> None:
        if self._is_closed:
            message = "the agent is stopping"
            raise InterruptedError(message)
        if not stat.S_ISREG(os.lstat(source).st_mode):
            raise _invalid(Path(source), "is neither file, folder nor link")
        shutil.copy2(source, to)


def _rename_unless_there(fresh: Path, path: Path) -> None:
    """Of two that were made at once the first stays."""
    try:
        fresh.rename(path)
    except OSError:
        if not path.exists():
            raise


def _links(folder: Path) -> Iterator[Path]:
    for inner, folders, files in os.walk(folder):
        yield from (p for name in (*folders, *files) if (p := Path(inner, name)).is_symlink())


def _invalid(path: Path, why: str) -> InvalidError:
    message = f"{path} {why}"
    return InvalidError(message, pointer="/source")


def _remove(path: Path) -> None:
    """Delete a tree, also one whose folders were made read-only."""
    if not path.exists():
        return
    path.chmod(0o700)
    for inner, folders, _ in os.walk(path):
        for folder in (Path(inner, name) for name in folders):
            if not folder.is_symlink():
                folder.chmod(0o700)
    shutil.rmtree(path)

"""planting: a bug is a patch; it is planted in a copy of the tree, where part of the suite runs.

A patch file begins with three lines, `bug:` says what is wrong, `run:` which part of the suite
must notice within its normal budget (`pytest …` or `simulate …`), `shows:` by which words it does.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATCHES = Path(__file__).with_name("patches")
COPIED = ("adapters", "api", "domain", "projections", "shipslog", "tests", "pyproject.toml")
RUNS_FOR = 300.0
"""Seconds after which a run has noticed nothing."""
FAILED = 1
"""The exit code of a suite that has failed; any other says that it could not run."""


@dataclass(frozen=True)
class Bug:
    """A patch, and what must become of the suite under it."""

    path: Path
    run: tuple[str, ...]
    shows: str

    @classmethod
    def read(cls, path: Path) -> Bug:
        """Read the head of a patch file. Errors: KeyError where it does not say what to run."""
        said = dict(re.findall(r"^(bug|run|shows): (.+)$", path.read_text(), re.MULTILINE))
        if not said["bug"]:
            raise KeyError(path)
        return cls(path, tuple(said["run"].split()), said["shows"])

    def planted(self, folder: Path) -> Path:
        """Return a copy of the tree with the bug in it. Errors: CalledProcessError."""
        for name in COPIED:
            if (ROOT / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignored)
            else:
                shutil.copy(ROOT / name, folder)
        self._apply(folder)
        return folder

    def applies(self) -> None:
        """Pass if the patch fits the tree as it is. Errors: CalledProcessError."""
        self._apply(ROOT, "--check")

    def noticed(self, folder: Path) -> tuple[int, str]:
        """Run what must notice in a copy with the bug; return its exit code and its words."""
        module, *arguments = self.run
        if module == "simulate":
            arguments = ["tests.simulation", "--jobs", "1", "--explain", "0", *arguments]
        else:
            arguments = [module, "-x", "-q", "-p", "no:cacheprovider", *arguments]
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=RUNS_FOR,
            check=False,
        )
        return done.returncode, done.stdout

    def _apply(self, folder: Path, *options: str) -> None:
        # Outside of any repository a patch is applied to files as they are.
        env = {**os.environ, "GIT_DIR": os.devnull}
        command = ["git", "apply", *options, str(self.path)]
        subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=True)


BUGS = [Bug.read(path) for path in sorted(PATCHES.glob("*.patch"))]

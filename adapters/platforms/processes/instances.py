"""Instances: the long-lived processes of each revision, on fresh ports, known to the router."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import msgspec

from ....domain.errors import StateConflictError
from ....domain.ports import Effect, Instance, Launch, RevisionSpec
from .children import CannotStartError, Child, Report, Shims, command
from .journal import Journal
from .router.revision import Revision
from .router.router import Router
from .workspaces import Workspaces

HOST = "127.0.0.1"
PORTS = range(20_000, 32_768)
"""Below the range from which outgoing connections take theirs, the router's own among them."""
CANNOT_START = 127
"""The exit code of what could not be started, as a shell has it."""


class Instances:
    """The processes of every revision that was started and not yet retired."""

    def __init__(
        self, router: Router, workspaces: Workspaces, shims: Shims, journal: Journal
    ) -> None:
        self._router = router
        self._workspaces = workspaces
        self._shims = shims
        self._journal = journal
        self._fleets: dict[tuple[str, str], _Fleet] = {}
        self._turn = random.randrange(len(PORTS))  # noqa: S311  agents on one machine begin apart

    async def start(self, effect: Effect, spec: RevisionSpec) -> list[Instance]:
        """Bring a revision up to its capacity; what runs is kept, and drained no longer.

        What has ended is replaced, but by the effect that started it: again is once.
        Errors: StateConflictError where the effect was stopped, be it while it is under way.
        """
        self._journal.require_open(effect)
        known = self._fleets.get((effect.target, spec.revision))
        if known and known.retiring:
            known.retiring.cancel()
            await asyncio.wait([known.retiring])
            self._journal.require_open(effect)
        revisions = self._router.site(effect.target).revisions
        revision = revisions.setdefault(spec.revision, Revision())
        fleet = self._fleets.setdefault((effect.target, spec.revision), _Fleet(revision))
        async with fleet.lock:
            fleet.clear(but=str(effect.key))
            ports = self._free_ports(spec.capacity - len(fleet.processes))
            spawned = (self._spawn(effect, spec.launch, port) for port in ports)
            fresh = await asyncio.gather(*spawned)
            try:
                self._journal.require_open(effect)
            except StateConflictError:
                await _end(fresh)
                raise
            fleet.add(fresh)
        return fleet.instances()

    def of(self, target: str, revision: str) -> list[Instance]:
        """Return a revision's instances as they are now."""
        fleet = self._fleets.get((target, revision))
        return fleet.instances() if fleet else []

    async def retire(self, effect: Effect, revision: str, drain: float) -> None:
        """Let a revision finish what it has in flight, then end its instances; again: nothing.

        Errors: StateConflictError while it is routed, or where it is started again meanwhile.
        """
        if fleet := self._fleets.get((effect.target, revision)):
            if fleet.retiring is None or fleet.retiring.done():
                fleet.retiring = asyncio.ensure_future(self._retire(effect, revision, drain))
            retiring = fleet.retiring
            await asyncio.wait([retiring])
            if retiring.cancelled():
                message = f"revision {revision} of {effect.target} was started again"
                raise StateConflictError(message)
            retiring.result()

    def workspaces(self, target: str) -> set[str]:
        """Return the workspaces in which instances of a target run."""
        fleets = [fleet for key, fleet in self._fleets.items() if key[0] == target]
        return {process.workspace for fleet in fleets for process in fleet.processes}

    async def close(self) -> None:
        """End all instances."""
        await asyncio.gather(*(fleet.end() for fleet in self._fleets.values()))

    async def _spawn(self, effect: Effect, launch: Launch, port: int) -> _Process:
        launch = msgspec.structs.replace(launch, values={**launch.values, "port": str(port)})
        workspace = self._workspaces.path(effect.target, launch.workspace)
        output = workspace / "logs" / f"{port}.log"
        process = _Process(str(effect.key), port, launch.workspace)
        try:
            told = command(effect, launch, workspace, output, None)
            process.child = await self._shims.start(told)
        except (CannotStartError, OSError) as error:
            process.error = str(error)
        return process

    async def _retire(self, effect: Effect, revision: str, drain: float) -> None:
        left = (effect.deadline - datetime.now(UTC)).total_seconds()
        deadline = asyncio.get_running_loop().time() + left
        await self._router.retire(effect.target, revision, drain, deadline)
        fleet = self._fleets.pop((effect.target, revision))
        async with fleet.lock:
            await fleet.end()

    def _free_ports(self, count: int) -> list[int]:
        """Return the next free ports; none is given again before thousands of others were."""
        taken = {process.port for fleet in self._fleets.values() for process in fleet.processes}
        found: list[int] = []
        for port in self._ports_in_turn():
            if len(found) >= count:
                return found
            if port not in taken and _is_free(port):
                found.append(port)
        message = "no port is free"
        raise OSError(message)

    def _ports_in_turn(self) -> Iterator[int]:
        for _ in PORTS:
            self._turn = (self._turn + 1) % len(PORTS)
            yield PORTS[self._turn]


class _Fleet:
    """The processes of one revision."""

    def __init__(self, revision: Revision) -> None:
        self.processes: list[_Process] = []
        self.lock = asyncio.Lock()
        self.retiring: asyncio.Task[None] | None = None
        self._revision = revision

    def clear(self, but: str) -> None:
        """Forget what has ended, but for what an effect key started."""
        self.processes = [p for p in self.processes if p.is_alive or p.key == but]

    def add(self, fresh: Iterable[_Process]) -> None:
        for process in fresh:
            self.processes.append(process)
            if process.child:
                process.child.end.add_done_callback(self._publish)
        self._publish()

    def instances(self) -> list[Instance]:
        return [process.instance() for process in self.processes]

    async def end(self) -> None:
        await _end(self.processes)

    def _publish(self, _: object = None) -> None:
        alive = [process.port for process in self.processes if process.is_alive]
        self._revision.addresses = tuple((HOST, port) for port in alive)


class _Process:
    def __init__(self, key: str, port: int, workspace: str) -> None:
        self.key = key
        self.port = port
        self.workspace = workspace
        self.child: Child | None = None
        self.error: str | None = None

    @property
    def is_alive(self) -> bool:
        return self.child is not None and not self.child.end.done()

    def instance(self) -> Instance:
        if self.child is None:
            return Instance(
                HOST, self.port, 0, alive=False, exit_code=CANNOT_START, detail=self.error
            )
        if self.is_alive:
            return Instance(HOST, self.port, self.child.pid, alive=True)
        code, detail = _told(self.child.end.result())
        return Instance(HOST, self.port, self.child.pid, alive=False, exit_code=code, detail=detail)


async def _end(processes: Iterable[_Process]) -> None:
    children = [process.child for process in processes if process.child]
    for child in children:
        child.let_go()
    if children:
        await asyncio.wait([child.end for child in children])


def _told(report: Report | None) -> tuple[int | None, str | None]:
    """Return the exit code, minus the signal that ended it, and the last line printed."""
    if report is None:
        return None, None
    return report.exit if report.signal is None else -report.signal, report.last or None


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True

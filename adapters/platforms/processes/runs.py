"""Commands that run to their end: each effect key at most once, its result kept in the journal."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from ....domain.errors import PlatformUnavailableError
from ....domain.ports import Effect, Ended, Launch
from .children import CannotStartError, Child, Report, Shims, command
from .journal import LOST, Journal
from .workspaces import Workspaces


class Runs:
    """What runs now, and by way of the journal what did."""

    def __init__(self, journal: Journal, workspaces: Workspaces, shims: Shims) -> None:
        self._journal = journal
        self._workspaces = workspaces
        self._shims = shims
        self._runs: dict[str, _Run] = {}
        self._is_closed = False

    async def run(self, effect: Effect, launch: Launch) -> Ended:
        """Return how the command of this effect key ends or has ended; start it if it is new."""
        return await asyncio.shield(self._run(effect, launch).end)

    async def stop(self, effect: Effect) -> None:
        """End the command of this effect key; one that was never started will never be.

        Errors: OSError where that cannot be noted.
        """
        run = self._run(effect, None)
        run.stop()
        await asyncio.shield(run.end)

    def workspaces(self, target: str) -> set[str]:
        """Return the deployments of a target for which something runs."""
        effects = [run.effect for run in self._runs.values()]
        return {effect.key.deployment for effect in effects if effect.target == target}

    async def close(self) -> None:
        """End everything; how it ended is not noted, so it counts as lost."""
        self._is_closed = True
        for run in self._runs.values():
            run.stop()
        if self._runs:
            await asyncio.wait([run.end for run in self._runs.values()])

    def _run(self, effect: Effect, launch: Launch | None) -> _Run:
        key = str(effect.key)
        if key not in self._runs:
            run = self._runs[key] = _Run(effect)
            run.end = asyncio.ensure_future(self._carry_out(run, launch))
            run.end.add_done_callback(lambda _: self._runs.pop(key).end.exception())
        return self._runs[key]

    async def _carry_out(self, run: _Run, launch: Launch | None) -> Ended:
        known = await asyncio.to_thread(self._journal.begin, run.effect)
        if known:
            return known
        ended = await self._execute(run, launch)
        if self._is_closed:
            raise PlatformUnavailableError(detail="the agent is stopping")
        return await asyncio.to_thread(self._journal.finish, run.effect, ended)

    async def _execute(self, run: _Run, launch: Launch | None) -> Ended:
        effect = run.effect
        seconds = (effect.deadline - datetime.now(UTC)).total_seconds()
        if run.is_stopped or launch is None:
            return _not_started(error="stopped before it was started")
        if seconds <= 0:
            return _not_started(timed_out=True)
        workspace = self._workspaces.path(effect.target, launch.workspace)
        try:
            told = command(effect, launch, workspace, self._journal.output(effect), seconds)
            run.child = await self._shims.start(told)
        except (CannotStartError, OSError) as error:
            return _not_started(error=str(error))
        if run.is_stopped:
            run.child.let_go()
        report = await run.child.end
        return _ended(report) if report else LOST


class _Run:
    """One command, from before it is started."""

    end: asyncio.Task[Ended]

    def __init__(self, effect: Effect) -> None:
        self.effect = effect
        self.child: Child | None = None
        self.is_stopped = False

    def stop(self) -> None:
        self.is_stopped = True
        if self.child:
            self.child.let_go()


def _ended(report: Report) -> Ended:
    return Ended(
        exit_code=report.exit,
        signal=report.signal,
        timed_out=report.timed_out,
        output=b"",
        truncated=report.truncated,
    )


def _not_started(*, error: str | None = None, timed_out: bool = False) -> Ended:
    return Ended(None, None, timed_out, b"", truncated=False, error=error)

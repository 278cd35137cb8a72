"""The kinds of stages, one file each: what a plan says of it, and how it is carried out.

A kind is a frozen `…Spec` tagged with the kind's name and an async `perform(spec, work)` that is
written against the ports alone. A new kind is a new file and its two lines here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from . import check, health, monitor, restore, retire, run, snapshot, start, switch, wait
from .check import CheckSpec
from .health import HealthSpec
from .monitor import MonitorSpec
from .restore import RestoreSpec
from .retire import RetireSpec
from .run import RunSpec
from .snapshot import SnapshotSpec
from .start import StartSpec
from .switch import SwitchSpec
from .wait import WaitSpec
from .work import Outcome, Outside, Work

Spec = (
    RunSpec
    | CheckSpec
    | WaitSpec
    | SnapshotSpec
    | StartSpec
    | HealthSpec
    | SwitchSpec
    | MonitorSpec
    | RetireSpec
    | RestoreSpec
)

PERFORM: dict[type, Callable[[Any, Work], Awaitable[Outcome]]] = {
    RunSpec: run.perform,
    CheckSpec: check.perform,
    WaitSpec: wait.perform,
    SnapshotSpec: snapshot.perform,
    StartSpec: start.perform,
    HealthSpec: health.perform,
    SwitchSpec: switch.perform,
    MonitorSpec: monitor.perform,
    RetireSpec: retire.perform,
    RestoreSpec: restore.perform,
}

CANCEL: dict[type, Callable[[Any, Work], Awaitable[str | None]]] = {RunSpec: run.cancel}
"""Kinds that leave something running when they are no longer waited for."""


def looks_outside(spec: Spec) -> bool:
    """Say whether a kind depends on the world as it is, or changes it; else on log and clock."""
    return not isinstance(spec, (WaitSpec, SnapshotSpec))


def changes_the_world(spec: Spec) -> bool:
    """Say whether a kind has effects, which may have taken place although nobody knows of it."""
    return isinstance(spec, (RunSpec, StartSpec, SwitchSpec, RetireSpec, RestoreSpec))


def may_be_repeated(spec: Spec) -> bool:
    """Say whether a try of which nobody knows what it did may be followed by another."""
    match spec:
        case RunSpec():
            return spec.idempotent
        case SnapshotSpec() | RetireSpec() | RestoreSpec():
            return True
        case _:
            return False


__all__ = [
    "CANCEL",
    "PERFORM",
    "CheckSpec",
    "HealthSpec",
    "MonitorSpec",
    "Outcome",
    "Outside",
    "RestoreSpec",
    "RetireSpec",
    "RunSpec",
    "SnapshotSpec",
    "Spec",
    "StartSpec",
    "SwitchSpec",
    "WaitSpec",
    "Work",
    "changes_the_world",
    "looks_outside",
    "may_be_repeated",
]

"""The kinds of stages, one file each: what a plan says of it, and how it is carried out.

A kind is a frozen `…Spec` tagged with the kind's name and an async `perform(spec, work)` that is
written against the ports alone. A new kind is a new file and its line in `Spec`.
"""

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

__all__ = ["Spec"]

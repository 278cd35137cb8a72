"""Shipslog's face: what pipeline files, tests and scripts may import.

Names are looked up when they are first used: the command line starts without them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .domain.language.argv import Secret
    from .domain.language.environment import Approvals, Limits, Processes
    from .domain.language.environment import EnvironmentDocument as Environment
    from .domain.language.pipeline import Check, Deploy, Pipeline, Retry, Run, Stage, Wait
    from .domain.language.rollout import (
        BlueGreen,
        CommandCheck,
        Health,
        HttpCheck,
        Rollback,
        Rollout,
        TcpCheck,
    )

__all__ = [
    "Approvals",
    "BlueGreen",
    "Check",
    "CommandCheck",
    "Deploy",
    "Environment",
    "Health",
    "HttpCheck",
    "Limits",
    "Pipeline",
    "Processes",
    "Retry",
    "Rollback",
    "Rollout",
    "Run",
    "Secret",
    "Stage",
    "TcpCheck",
    "Wait",
]

_MODULES = {
    "argv": ("Secret",),
    "environment": ("Approvals", "Environment", "Limits", "Processes"),
    "pipeline": ("Check", "Deploy", "Pipeline", "Retry", "Run", "Stage", "Wait"),
    "rollout": (
        "BlueGreen",
        "CommandCheck",
        "Health",
        "HttpCheck",
        "Rollback",
        "Rollout",
        "TcpCheck",
    ),
}
_RENAMED = {"Environment": "EnvironmentDocument"}


if not TYPE_CHECKING:  # type checkers would take every name for one of ours

    def __getattr__(name: str) -> object:
        for module, names in _MODULES.items():
            if name in names:
                found = import_module(f".domain.language.{module}", __name__)
                return getattr(found, _RENAMED.get(name, name))
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)

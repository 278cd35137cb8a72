"""What is deployed while everything is killed: a service, and a target that only runs commands."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..documents import Document, environment, pipeline

APP = "steady.py"
ENVIRONMENT = "sea"
SERVICE, CHORES = "steady", "chores"
JOURNALS = ("stages", "instances")
"""Files beside the data folder in which commands and instances say which effect they are."""

SECONDS_OF_ITS_OWN = 2.0
"""The most that any stage takes by itself where the machine is busy with the rest of the test."""

PYTHON = ("python", "-I", "-S", APP)


def documents(folder: Path, listen: str) -> list[Document]:
    """Return everything that is defined; journals and source stand in the folder."""
    source = folder / "source"
    source.mkdir()
    shutil.copy(Path(__file__).with_name(APP), source)
    stages, instances = (str(folder / name) for name in JOURNALS)

    def work(name: str, seconds: float, *needs: str, idempotent: bool = False) -> Document:
        command = [*PYTHON, "work", str(seconds), stages]
        return {
            "name": name,
            "run": command,
            "needs": list(needs),
            "timeout": "20s",
            "idempotent": idempotent,
        }

    rollout = {
        "command": [*PYTHON, "serve", "{port}", "{version}", instances],
        "capacity": 2,
        "strategy": {"kind": "blue_green", "monitor": "300ms", "min_requests": 1000},
        "drain": "2s",
        "health": {
            "checks": [{"http": "/healthz"}],
            "timeout": "2s",
            "interval": "50ms",
            "attempts": 200,
            "require": "healthy",
        },
    }
    deploy = {"name": "deploy", "needs": ["build", "once"], "deploy": rollout}
    verify = {
        "name": "verify",
        "needs": ["deploy"],
        "check": [{"http": "/"}],
        "retry": {"attempts": 3, "backoff": "100ms"},
    }
    steady = [work("build", 0.1, idempotent=True), work("once", 0.05), deploy, verify]
    chores = [
        work("sweep", 0.2, idempotent=True),
        work("paint", 0.2, "sweep"),
        {"name": "dry", "wait": "200ms", "needs": ["sweep"]},
        work("polish", 0.1, "paint", "dry", idempotent=True),
    ]
    return [
        environment(ENVIRONMENT, **{SERVICE: listen}),
        pipeline(SERVICE, *steady, source=str(source)),
        pipeline(CHORES, *chores, source=str(source)),
    ]

"""What is deployed to fail, and what its status documents say of that."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from shipslog.api.client import Client
from shipslog.api.wire.shapes import Status

from ..documents import Document, pipeline
from ..installation import Installation, deployed
from . import processes
from .conditions import eventually

LAB = "lab"
APP = "faulty.py"
PATIENT_SECONDS = 30.0


def service(name: str, source: str, *fault: str, **rollout: Any) -> Document:
    """Return a pipeline that deploys a service, with a fault or without."""
    whole = {
        "command": ["python", "-I", "-S", APP, "{port}", *(fault or ("none",))],
        "strategy": watched("0s"),
        "drain": "1s",
        "health": asking(timeout="2s", interval="100ms", attempts=100),
    }
    env = rollout.pop("env", {})
    return pipeline(name, {"name": "deploy", "deploy": whole | rollout, "env": env}, source=source)


def commands(name: str, *argv: str, **stage: Any) -> Document:
    """Return a pipeline with one command."""
    return pipeline(name, {"name": "work", "run": list(argv), **stage})


def watched(monitor: str, **limits: Any) -> Document:
    """Return a strategy that watches for so long."""
    return {"kind": "blue_green", "monitor": monitor, **limits}


def asking(**patience: Any) -> Document:
    """Return how an instance is asked for its health."""
    return {"checks": [{"http": "/healthz"}], **patience}


async def redeployed(client: Client, document: Document) -> Status:
    """Define a pipeline anew and deploy that, in a version of its own."""
    path = f"/v1/pipelines/{document['name']}"
    before = await client.get(path)
    await client.put(path, document, etag=before.etag)
    # An ETag is the stream version it was read at, in quotes.
    version = (before.etag or "").strip('W/"')
    return await deployed(client, document["name"], f"2.0.{version}", LAB)


def said_of(status: Status, name: str) -> str:
    """Return the message of a stage."""
    return str(_stage(status, name)["message"])


def seconds_of(status: Status, name: str) -> float:
    """Return how long a stage took."""
    stage = _stage(status, name)
    begun, ended = (datetime.fromisoformat(str(stage[f"{at}_at"])) for at in ("started", "ended"))
    return (ended - begun).total_seconds()


def memory(installation: Installation) -> dict[str, int]:
    """Return the resident bytes of server and agent."""
    agent = processes.agent_of(installation.data)
    assert agent
    assert installation.process
    return {
        "server": processes.resident(installation.process.pid),
        "agent": processes.resident(agent.pid),
    }


async def until(claim: Callable[[], object]) -> None:
    """Return as soon as a claim holds."""

    async def asked() -> object:
        return claim()

    assert await eventually(asked, PATIENT_SECONDS)


def all_files(folder: Path) -> dict[Path, bytes]:
    """Return the content of every file below a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _stage(status: Status, name: str) -> Any:  # noqa: ANN401 - a document
    return next(stage for stage in status["stages"] if stage["name"] == name)

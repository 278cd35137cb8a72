"""Documents that system tests define: an environment, and the example's service behind it."""

from __future__ import annotations

from typing import Any

from .installation import ROOT

Document = dict[str, Any]


def environment(name: str, **routes: str) -> Document:
    """Return an environment of local processes."""
    platform = {"kind": "processes", "routes": routes}
    return {"kind": "Environment", "name": name, "platform": platform}


def pipeline(name: str, *stages: Document, source: str | None = None) -> Document:
    """Return a pipeline whose service has its name."""
    return {"kind": "Pipeline", "name": name, "source": source, "stages": list(stages)}


def web(*, capacity: int = 1, monitor: str = "0s") -> Document:
    """Return a pipeline that deploys examples/web, and asks it often how it is."""
    rollout = {
        "command": ["python", "server.py", "--port", "{port}", "--version", "{version}"],
        "capacity": capacity,
        "strategy": {"kind": "blue_green", "monitor": monitor},
        "drain": "5s",
        "health": {
            "checks": [{"http": "/healthz"}],
            "timeout": "2s",
            "interval": "100ms",
            "attempts": 100,
        },
    }
    stage = {"name": "deploy", "deploy": rollout}
    return pipeline("web", stage, source=str(ROOT / "examples/web"))

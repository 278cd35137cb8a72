"""Pipelines for tests: the contract's example as data, and shorthands."""

from typing import Any

from shipslog import BlueGreen, Check, Deploy, Health, HttpCheck, Pipeline, Retry, Rollout, Run
from shipslog.domain.commands import RequestDeployment
from shipslog.domain.language.compiler import bind, compile_pipeline
from shipslog.domain.plan import Plan

BUILD: dict[str, Any] = {
    "name": "build",
    "run": ["python", "-m", "compileall", "."],
    "timeout": "120s",
    "retry": {"attempts": 3, "backoff": "2s"},
    "idempotent": True,
    "env": {"MODE": "fast"},
}
LINT: dict[str, Any] = {"name": "lint", "run": ["python", "-c", "print('ok')"]}
DEPLOY: dict[str, Any] = {
    "name": "deploy",
    "needs": ["build", "lint"],
    "deploy": {
        "command": ["python", "server.py", "--port", "{port}", "--version", "{version}"],
        "capacity": 2,
        "strategy": {
            "kind": "blue_green",
            "monitor": "10s",
            "max_error_share": "5%",
            "min_requests": 20,
        },
        "drain": "30s",
        "health": {
            "checks": [{"http": "/healthz", "expect": 200}],
            "timeout": "2s",
            "interval": "500ms",
            "attempts": 10,
            "require": "degraded",
        },
        "rollback": {
            "health_failure": "immediate",
            "degradation": "immediate",
            "user": "immediate",
        },
    },
}
VERIFY: dict[str, Any] = {
    "name": "verify",
    "needs": ["deploy"],
    "check": [{"http": "/", "expect": 200}],
}
WEB: dict[str, Any] = {
    "kind": "Pipeline",
    "name": "web",
    "service": "web",
    "versioning": "semver",
    "source": "/srv/app",
    "stages": [BUILD, LINT, DEPLOY, VERIFY],
}
IN_PYTHON = Pipeline(
    name="web",
    service="web",
    source="/srv/app",
    stages=[
        Run(
            name="build",
            run=["python", "-m", "compileall", "."],
            timeout="2m",
            retry=Retry(attempts=3, backoff="2000ms"),
            idempotent=True,
            env={"MODE": "fast"},
        ),
        Run(name="lint", run=["python", "-c", "print('ok')"]),
        Deploy(
            name="deploy",
            needs=["build", "lint"],
            deploy=Rollout(
                command=["python", "server.py", "--port", "{port}", "--version", "{version}"],
                capacity=2,
                strategy=BlueGreen(monitor="10s", max_error_share="5%", min_requests=20),
                health=Health(checks=[HttpCheck(http="/healthz")]),
            ),
        ),
        Check(name="verify", needs=["deploy"], check=[HttpCheck(http="/")]),
    ],
)


def wait(name: str, *needs: str) -> dict[str, Any]:
    """Return a stage that does nothing."""
    return {"name": name, "needs": list(needs), "wait": "1s"}


def of(*stages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return a pipeline's document of these stages."""
    return {"name": "web", "stages": list(stages), **fields}


def with_stage(**fields: Any) -> dict[str, Any]:
    """Return a pipeline's document of one `run` stage that says this too."""
    return of({"name": "build", "run": ["make"], **fields})


def with_deploy(**fields: Any) -> dict[str, Any]:
    """Return a pipeline's document of one deploy stage that says this too."""
    return of({"name": "deploy", "deploy": {"command": ["serve"], **fields}})


def plan_of(document: dict[str, Any], version: str = "1.4.0", artifact: str | None = None) -> Plan:
    """Return the plan of a document's first version, for staging."""
    request = RequestDeployment(
        pipeline="web", version=version, environment="staging", artifact=artifact
    )
    return bind(compile_pipeline(Pipeline.parse(document)), request, 1)

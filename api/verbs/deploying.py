"""Verbs that change a deployment: ask for one, and act on one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from ..terminal import output, rows, views
from ..wire.shapes import CutOffError, Status
from .asking import ExitCode, ask, is_final, is_held
from .options import (
    Artifact,
    AsJson,
    DeploymentId,
    EnvironmentName,
    Key,
    PipelineName,
    Reason,
    Timeout,
    Version,
    Wait,
    Watch,
)

if TYPE_CHECKING:
    from ..client import Client

ACTIONS = {
    "abort": "End a deployment; what it did is undone.",
    "rollback": "Undo a running deployment, or bring back what was healthy before a finished one.",
    "retry": "Try again: the stage that needs an operator, or a finished deployment as a new one.",
    "approve": "Allow a deployment that waits for approval.",
    "reject": "Refuse a deployment that waits for approval.",
    "pause": "Hold a deployment after the stages that run now.",
    "resume": "Let a paused deployment go on.",
    "promote": "Let a deployment go on to its next step at once.",
    "skip": "Leave out the stage that a deployment waits at.",
}


def deploy(
    pipeline: PipelineName,
    version: Version,
    environment: EnvironmentName,
    *,
    reason: Reason = None,
    artifact: Artifact = None,
    watch: Watch = False,
    wait: Wait = False,
    timeout: Timeout = None,
    idempotency_key: Key = None,
    as_json: AsJson = False,
) -> ExitCode:
    """Deploy a version to an environment; prints the new deployment's id."""
    if watch and wait:
        message = "--watch shows what --wait only waits for: give one of them."
        raise typer.BadParameter(message)
    if timeout is not None and not (watch or wait):
        message = "--timeout says how long to --wait or --watch: give one of them."
        raise typer.BadParameter(message)

    async def asked(client: Client) -> ExitCode:
        from ..client import new_key

        key = idempotency_key or new_key()
        options = {"reason": reason, "artifact": artifact}
        try:
            first = await client.request(pipeline, version, environment, options=options, key=key)
        except CutOffError:
            output.say(
                f"Whether it was asked for is not known: --idempotency-key {key} asks again."
            )
            raise
        if watch:
            return await _watched(client, first, timeout, as_json=as_json)
        if wait:
            return await _waited(client, first, timeout, as_json=as_json)
        _show(first, as_json=as_json)
        return ExitCode.DONE

    return ask(asked)


def acting(action: str) -> Callable[..., None]:
    """Return the verb of an action on a deployment."""

    def act(
        deployment: DeploymentId,
        *,
        reason: Reason = None,
        idempotency_key: Key = None,
        as_json: AsJson = False,
    ) -> None:
        body = {"reason": reason}
        _show(_acted(deployment, action, body, idempotency_key), as_json=as_json)

    act.__doc__ = ACTIONS[action]
    return act


def approve(
    deployment: DeploymentId,
    *,
    reason: Reason = None,
    plan_hash: Annotated[
        str | None, typer.Option(help="The plan that is allowed; without it the one it has now.")
    ] = None,
    idempotency_key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Allow a deployment that waits for approval."""
    plan = plan_hash or ask(lambda client: client.deployment(deployment))["plan_hash"]
    body = {"reason": reason, "plan_hash": plan}
    _show(_acted(deployment, "approve", body, idempotency_key), as_json=as_json)


def _acted(deployment: str, action: str, body: dict[str, str | None], key: str | None) -> Status:
    from ..client import new_key

    return ask(lambda client: client.act(deployment, action, body, key=key or new_key()))


def _show(status: Status, *, as_json: bool) -> None:
    if as_json:
        output.put_json(status)
        return
    output.put(output.clean(status["id"]))
    if output.is_terminal() and not is_final(status):
        output.say(f"It is {status['status']}: shipslog get {status['id']} --watch")


async def _watched(
    client: Client, first: Status, timeout: float | None, *, as_json: bool
) -> ExitCode:
    from .following import settle

    _, code = await settle(client, first, views.chosen(as_json=as_json), timeout=timeout)
    return code


async def _waited(
    client: Client, first: Status, timeout: float | None, *, as_json: bool
) -> ExitCode:
    from .following import settle

    if not as_json:
        output.put(output.clean(first["id"]))
    last, code = await settle(client, first, views.View(), until=is_held, timeout=timeout)
    if as_json:
        output.put_json(last)
    else:
        what = f"{last['service']} {last['version']} → {last['environment']}"
        output.say("; ".join([f"{what}: {last['status']}", *map(rows.waiting, last["waiting_on"])]))
    return code

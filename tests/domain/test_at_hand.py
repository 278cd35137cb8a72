"""The door decides on what was last seen, and never on what has moved on since."""

from collections.abc import Sequence

import pytest

from shipslog.domain.append import Append, Appended
from shipslog.domain.commands import (
    AbortDeployment,
    DefinePipeline,
    RequestDeployment,
    RollbackDeployment,
)
from shipslog.domain.definition import Definition
from shipslog.domain.deployment import Deployment
from shipslog.domain.environment import Environment
from shipslog.domain.errors import ConflictError, StateConflictError
from shipslog.domain.event import Recorded
from shipslog.domain.ledger import Door

from .story import ALICE, COMMANDS_ONLY, Story


async def test_what_others_have_written_meanwhile_is_decided_on() -> None:
    story = Story()
    await story.begin(COMMANDS_ONLY)
    name = await story.request()
    behind = Door(story.ledger, story.clock, story.ledger)
    await behind.streams.load(Deployment, f"deployment:{name}")
    await behind.streams.load(Environment, "environment:staging")
    await behind.streams.load(Definition, "pipeline:web")
    await story.tell(AbortDeployment(deployment=name))
    await story.settle(name)
    with pytest.raises(StateConflictError):
        await behind.carry_out(RollbackDeployment(deployment=name), ALICE)
    document = {"stages": [*COMMANDS_ONLY, {"name": "more", "run": ["true"]}]}
    await story.tell(DefinePipeline(name="web", document=document, if_match=1))
    receipt = await behind.carry_out(
        RequestDeployment(pipeline="web", version="2.0.0", environment="staging"), ALICE
    )
    newest = await behind.streams.load(Deployment, receipt.stream)
    assert newest.recorded_plan.stages[-1].name == "more"


async def test_what_others_write_to_is_read_before_it_is_decided_on_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    story = Story()
    await story.begin(COMMANDS_ONLY)
    door = Door(story.ledger, story.clock, story.ledger)
    refused, append = 0, story.ledger.append

    async def counted(one: Append) -> Appended:
        nonlocal refused
        try:
            return await append(one)
        except ConflictError:
            refused += 1
            raise

    monkeypatch.setattr(story.ledger, "append", counted)
    request = RequestDeployment(pipeline="web", version="2.0.0", environment="staging")
    for so_far in (0, 1, 1):
        await door.carry_out(request, ALICE)
        assert refused == so_far
        await story.request()
        refused = so_far


async def test_what_is_at_hand_need_not_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    story = Story()
    await story.begin(COMMANDS_ONLY)
    await story.request()
    read, asked = story.ledger.stream, list[str]()

    async def noted(stream: str, *, after: int = 0) -> Sequence[Recorded]:
        asked.append(stream)
        return await read(stream, after=after)

    monkeypatch.setattr(story.ledger, "stream", noted)
    await story.request("2.0.0")
    assert asked == []

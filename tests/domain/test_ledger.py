"""The one door: permission, rules, decision, append; each refusal leaves nothing behind."""

import asyncio

import msgspec
import pytest

from shipslog.domain.access import Actor, Role
from shipslog.domain.admission import what_holds
from shipslog.domain.commands import (
    AbortDeployment,
    Command,
    DefineEnvironment,
    DefinePipeline,
    RequestDeployment,
    RetryDeployment,
    RollbackDeployment,
)
from shipslog.domain.deployment import Status
from shipslog.domain.errors import (
    DeniedError,
    DigestRequiredError,
    IdempotencyMismatchError,
    InvalidError,
    LedgerError,
    LimitReachedError,
    NotAvailableError,
    NotFoundError,
    PreconditionFailedError,
    PreconditionRequiredError,
    StateConflictError,
    TargetBusyError,
    UnknownReferenceError,
)
from shipslog.domain.target import Place, Target

from .revisions import revision, serving, to_the_end
from .story import ALICE, BLUE_GREEN, COMMANDS_ONLY, ENVIRONMENT, Story

REQUEST = RequestDeployment(pipeline="web", version="1.0.0", environment="staging")


def altered(**fields: object) -> RequestDeployment:
    """Return the request with other fields."""
    return REQUEST.model_copy(update=fields)


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (altered(pipeline="none"), UnknownReferenceError),
        (altered(environment="none"), UnknownReferenceError),
        (altered(version="1.0"), InvalidError),
        (altered(version="one"), InvalidError),
        (altered(artifact="web:latest"), DigestRequiredError),
        (altered(artifact="web@sha256:ABC"), InvalidError),
        (altered(inputs={"a": "b"}), NotAvailableError),
        (AbortDeployment(deployment="none"), NotFoundError),
        (RollbackDeployment(deployment="none"), NotFoundError),
        (RetryDeployment(deployment="none"), NotFoundError),
        (DefineEnvironment(name="staging", document=ENVIRONMENT), PreconditionRequiredError),
        (
            DefineEnvironment(name="staging", document=ENVIRONMENT, if_match=7),
            PreconditionFailedError,
        ),
        (DefineEnvironment(name="new", document={"name": "other"}), InvalidError),
        (DefinePipeline(name="new", document={"stages": []}), InvalidError),
    ],
)
async def test_a_refusal_writes_nothing(command: Command, error: type[LedgerError]) -> None:
    story = Story()
    await story.begin(COMMANDS_ONLY)
    before = await story.ledger.head()
    with pytest.raises(error):
        await story.tell(command)
    assert await story.ledger.head() == before


async def test_a_viewer_may_not_deploy() -> None:
    story = Story()
    await story.begin(COMMANDS_ONLY)
    with pytest.raises(DeniedError, match="deployment:request"):
        await story.ledger.door.carry_out(REQUEST, Actor("sub_victor", Role.VIEWER))


async def test_a_service_without_a_route_is_refused_when_it_is_requested() -> None:
    story = Story()
    await story.begin(BLUE_GREEN, platform={"kind": "processes", "routes": {}})
    with pytest.raises(InvalidError, match="no route"):
        await story.request()


async def test_the_short_form_of_routes_serves_one_service_only() -> None:
    story = Story()
    await story.begin(BLUE_GREEN, platform={"kind": "processes", "listen": "127.0.0.1:8100"})
    await story.tell(DefinePipeline(name="other", document={"stages": BLUE_GREEN}))
    await story.request()
    await story.request("1.0.1")
    with pytest.raises(InvalidError, match="no route"):
        await story.tell(altered(pipeline="other"))


async def test_the_same_key_is_answered_with_what_it_did_the_first_time() -> None:
    story = Story()
    await story.begin(COMMANDS_ONLY)
    first = await story.tell(REQUEST, key="k")
    again = await story.tell(REQUEST, key="k")
    assert (again.stream, again.position, again.known) == (first.stream, first.position, True)
    with pytest.raises(IdempotencyMismatchError):
        await story.tell(altered(version="1.0.1"), key="k")
    other = await story.ledger.door.carry_out(REQUEST, Actor("sub_bob", Role.ADMIN), key="k")
    assert other.stream != first.stream, "a key is its caller's own"


@pytest.mark.parametrize("kind", [AbortDeployment, RollbackDeployment])
async def test_the_same_key_is_answered_alike_although_nothing_was_left_to_change(
    kind: type[AbortDeployment | RollbackDeployment],
) -> None:
    story = Story()
    await story.begin(COMMANDS_ONLY)
    one = await story.request()
    await story.settle(one)
    wish = kind(deployment=one)
    await story.tell(wish, key="first")
    idle = await story.tell(wish, key="second")
    await story.tell(wish)
    assert await story.ledger.head() == idle.position
    await story.settle(one)
    for stage in ("build", "lint"):
        await story.finish(one, stage, "cancelled")
    assert (await story.deployment(one)).is_final
    assert await story.tell(wish, key="second") == msgspec.structs.replace(idle, known=True)
    with pytest.raises(IdempotencyMismatchError):
        await story.tell(kind(deployment=one, reason="another"), key="second")
    with pytest.raises(StateConflictError):
        await story.tell(wish, key="third")


async def test_a_thousand_calls_with_one_key_are_one_deployment() -> None:
    story = Story()
    await story.begin(COMMANDS_ONLY)
    receipts = await asyncio.gather(*(story.tell(REQUEST, key="k") for _ in range(1000)))
    assert len({receipt.stream for receipt in receipts}) == 1


async def test_a_hundred_claims_of_one_target_have_one_holder_and_a_line() -> None:
    story = Story()
    await story.begin(COMMANDS_ONLY)
    await asyncio.gather(*(story.tell(REQUEST) for _ in range(100)))
    target = await story.target()
    assert target.holder is not None
    assert len(set(target.queue)) == 99


async def test_under_the_policy_refuse_a_held_target_is_busy() -> None:
    story = Story()
    await story.begin(COMMANDS_ONLY, concurrency="refuse")
    answers = await asyncio.gather(
        *(story.tell(REQUEST) for _ in range(100)), return_exceptions=True
    )
    assert sum(isinstance(answer, TargetBusyError) for answer in answers) == 99
    assert not (await story.target()).queue


async def test_limits_count_at_admission_and_let_go_at_the_end() -> None:
    story = Story()
    await story.begin(COMMANDS_ONLY, limits={"concurrent": 2, "per_hour": 3})
    one, two = await story.request(), await story.request()
    with pytest.raises(LimitReachedError, match="2 at once"):
        await story.request()
    await story.tell(AbortDeployment(deployment=one))
    await story.settle(one)
    await story.tell(AbortDeployment(deployment=two))
    await story.settle(two)
    await story.request()
    with pytest.raises(LimitReachedError, match="3 an hour"):
        await story.request()
    story.clock.move(3600)
    await story.request()


async def test_a_document_that_changes_nothing_writes_nothing() -> None:
    story = Story()
    await story.begin(COMMANDS_ONLY)
    before = await story.ledger.head()
    document = {**ENVIRONMENT, "kind": "Environment", "history_limit": 50}
    await story.tell(DefineEnvironment(name="staging", document=document, if_match=1))
    assert await story.ledger.head() == before


async def test_a_reason_is_stored_sealed() -> None:
    story = Story()
    await story.begin(COMMANDS_ONLY)
    await story.tell(altered(reason="because"))
    requested = (await story.ledger.page(after=2, limit=1))[0]
    assert b'"reason":{"key":"sub_alice"' in requested.payload


async def test_a_retry_is_a_new_deployment_with_the_same_plan() -> None:
    story = Story()
    await story.begin(COMMANDS_ONLY)
    one = await story.request()
    with pytest.raises(StateConflictError):
        await story.tell(RetryDeployment(deployment=one))
    await story.tell(AbortDeployment(deployment=one))
    await story.settle(one)
    receipt = await story.tell(RetryDeployment(deployment=one))
    two = await story.deployment(receipt.stream.partition(":")[2])
    assert two.retry_of == one
    assert two.recorded_plan == (await story.deployment(one)).recorded_plan


async def test_a_finished_one_is_rolled_back_by_a_new_one_linked_both_ways() -> None:
    story = Story()
    await story.begin(BLUE_GREEN)
    one = await story.request()
    await to_the_end(story, one)
    with pytest.raises(StateConflictError, match="no earlier healthy"):
        await story.tell(RollbackDeployment(deployment=one))
    two = await story.request("2.0.0")
    await to_the_end(story, two, "2.0.0")
    receipt = await story.tell(RollbackDeployment(deployment=two))
    three = await story.deployment(receipt.stream.partition(":")[2])
    plan = three.recorded_plan
    assert (three.rollback_of, plan.version, plan.workspace_of) == (two, "1.0.0", one)
    assert "build" not in {stage.name for stage in plan.stages}
    assert (await story.topics(two))[-1] == "linked"
    assert (await story.deployment(two)).status is Status.SUCCEEDED


async def test_rollbacks_go_back_and_never_forth() -> None:
    story = Story()
    await story.begin(BLUE_GREEN)
    versions: dict[str, str] = {}
    for version in ("1.0.0", "2.0.0", "3.0.0"):
        versions[version] = await story.request(version)
        await to_the_end(story, versions[version], version)
    newest = versions["3.0.0"]
    for expected in ("2.0.0", "1.0.0"):
        receipt = await story.tell(RollbackDeployment(deployment=newest))
        newest = receipt.stream.partition(":")[2]
        plan = (await story.deployment(newest)).recorded_plan
        assert plan.version == expected
        await redone(story, newest, expected)
    with pytest.raises(StateConflictError):
        await story.tell(RollbackDeployment(deployment=newest))


async def redone(story: Story, deployment: str, version: str) -> None:
    """Carry a rollback deployment, which builds and verifies nothing, to its success."""
    await story.settle(deployment)
    source = (await story.deployment(deployment)).recorded_plan.workspace_of
    brought = revision(deployment, version)
    brought = msgspec.structs.replace(brought, workspace=source)
    place = Place("127.0.0.1", 4000, 1)
    await story.finish(deployment, "deploy.snapshot")
    started = Target.RevisionStarted(deployment=deployment, revision=brought, instances=(place,))
    await story.finish(deployment, "deploy.start", "succeeded", started)
    await story.finish(deployment, "deploy.health")
    routed = Target.Routed(deployment=deployment, serving=serving(deployment))
    await story.finish(deployment, "deploy.switch", "succeeded", routed)
    await story.finish(deployment, "deploy.monitor")
    await story.finish(deployment, "deploy.retire")


async def test_a_preview_says_the_plan_and_what_holds_it_and_writes_nothing() -> None:
    story = Story()
    await story.begin(COMMANDS_ONLY)
    holder = await story.request()
    before = await story.ledger.head()
    preview = await story.ledger.door.preview(REQUEST, ALICE)
    assert preview.plan_hash == preview.plan.hash()
    assert preview.waiting_on[0]["detail"] == f"deployment {holder}"
    assert await story.ledger.head() == before
    assert what_holds(await story.target(), story.clock.now())

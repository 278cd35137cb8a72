"""The status document: a fold of the deployment's stream, the same however it is come by."""

import base64
from collections.abc import Sequence
from datetime import timedelta

import msgspec
import pytest

from shipslog.domain.deployment import OPERATOR_SECONDS, Deployment, StageStatus, Status
from shipslog.domain.errors import InvalidCursorError, InvalidError
from shipslog.domain.event import Recorded, Sealed
from shipslog.domain.transaction import empty, fold
from shipslog.projections import READ_MODELS, deployments
from shipslog.projections.deployments import Filters, StatusDocument
from shipslog.projections.follower import MAX_LIMIT, Page, Views, with_keys

from .engines import Engine
from .telling import doubts

CONTRACT = {
    "id",
    "pipeline",
    "pipeline_version",
    "service",
    "version",
    "environment",
    "status",
    "plan_hash",
    "current_stage",
    "total_stages",
    "stages",
    "waiting_on",
    "requested_by",
    "reason",
    "requested_at",
    "started_at",
    "completed_at",
    "rollback",
    "rollback_of",
    "rolled_back_by",
    "retry_of",
    "outcome_kind",
    "live",
    "position",
    "links",
}
STAGE = {"name", "status", "attempt", "started_at", "ended_at", "message"}


def streams(events: Sequence[Recorded]) -> dict[str, list[Recorded]]:
    """Return the events of each deployment."""
    found: dict[str, list[Recorded]] = {}
    for event in events:
        if event.header.stream.startswith("deployment:"):
            found.setdefault(event.header.stream.partition(":")[2], []).append(event)
    return found


def all_documents(views: Views) -> list[StatusDocument]:
    """Return every document, newest first."""
    with views.reading() as db:
        return deployments.listed(db, Filters(), Page(MAX_LIMIT)).items


def test_at_every_position_the_row_is_the_fold_of_the_stream_up_to_there(
    engine: Engine, events: Sequence[Recorded]
) -> None:
    views = engine.new()
    told: dict[str, list[Recorded]] = {}
    for event in events:
        views.apply([event])
        stream = event.header.stream
        if stream.startswith("deployment:"):
            told.setdefault(stream, []).append(event)
            with views.reading() as db:
                stored = deployments.get(db, stream.partition(":")[2])
            assert stored == deployments.fold(told[stream])


def test_an_outline_is_served_as_the_same_bytes(views: Views) -> None:
    with views.reading() as db:
        rows = with_keys(db, deployments.SHOWN, (deployments.TABLE.c.id,), ids := names(views))
    assert len(rows) == len(ids) > 1
    documents = {document.id: document for document in all_documents(views)}
    for text, position, _ in rows:
        for stale in (None, 7):
            outline = deployments.outline((text, position, stale))
            whole = msgspec.structs.replace(documents[outline.id], stale_since=stale)
            assert outline.status is whole.status
            shown = {"requested_by": 'user:"anna"', "live": deployments.Live("r", "1")}
            for changes in ({}, shown):
                served = msgspec.structs.replace(outline, **changes)
                assert msgspec.json.encode(served) == msgspec.json.encode(
                    msgspec.structs.replace(whole, **changes)
                )


def names(views: Views) -> list[str]:
    """Return the id of every deployment."""
    return [document.id for document in all_documents(views)]


def test_stepping_and_folding_give_the_same_document(events: Sequence[Recorded]) -> None:
    for stream in streams(events).values():
        document = None
        for count, event in enumerate(stream, 1):
            document = deployments.apply(document, event)
            assert document == deployments.fold(stream[:count])


def test_a_document_says_what_the_domain_says(events: Sequence[Recorded]) -> None:
    for name, stream in streams(events).items():
        state = empty(f"deployment:{name}")
        document = None
        for event in stream:
            state = fold(state, event.fact)
            document = deployments.apply(document, event)
            assert isinstance(state, Deployment)
            agree(document, state)


async def test_what_nobody_can_know_waits_for_an_operator(engine: Engine) -> None:
    events = await (await doubts()).ledger.page(after=0, limit=1_000)
    known: dict[str, StatusDocument] = {}
    for name, stream in streams(events).items():
        state, document = empty(f"deployment:{name}"), None
        for event in stream:
            state, document = fold(state, event.fact), deployments.apply(document, event)
            assert isinstance(state, Deployment)
            agree(document, state)
        assert document == deployments.fold(stream)
        assert document
        known[document.environment] = document
    views = engine.new(READ_MODELS)
    views.apply(events)
    with views.reading() as db:
        for document in known.values():
            assert deployments.get(db, document.id) == document
    waiting, again, ended = known["waiting"], known["again"], known["ended"]
    (wait,) = waiting.waiting_on
    build = waiting.stages[0]
    assert (waiting.status, build.status, build.is_unknown) == ("needs_operator", "errored", True)
    assert (wait.kind, wait.detail, wait.since) == ("operator", "build", build.ended_at)
    assert wait.until
    assert build.ended_at
    assert (wait.until - build.ended_at).total_seconds() == OPERATOR_SECONDS
    assert not waiting.is_stopping
    assert (again.status, again.stages[0].attempt, again.waiting_on[0].kind) == (
        *("running", 2),
        "stage",
    )
    assert (ended.status, ended.waiting_on) == ("aborted", ())
    assert known["staging"].status == "rolled_back"
    assert known["staging"].rollback
    assert known["staging"].rollback.stage == "deploy.switch"


def agree(document: StatusDocument, state: Deployment) -> None:
    assert document.status is state.status
    assert document.started_at == state.started_at
    assert document.completed_at == state.completed_at
    assert document.current_stage == len(state.attempts)
    assert [stage.name for stage in document.stages] == [stage.name for stage in state.stages]
    assert document.is_stopping == (state.is_stopping or state.is_undoing)
    for shown, planned in zip(document.stages, state.stages, strict=True):
        attempt = state.attempts.get(planned.name)
        assert shown.retry_at == state.next_attempt_at(planned)
        if attempt is None:
            assert shown.status in {StageStatus.PENDING, StageStatus.SKIPPED}
        else:
            assert (shown.status, shown.attempt) == (attempt.status, attempt.number)
            assert (shown.started_at, shown.ended_at) == (attempt.started_at, attempt.ended_at)


def test_a_document_has_every_field_of_the_contract(views: Views) -> None:
    for document in all_documents(views):
        sent = msgspec.to_builtins(document)
        assert set(sent) >= CONTRACT
        assert all(set(stage) >= STAGE for stage in sent["stages"])
        assert sent["links"] == {
            "self": f"/v1/deployments/{document.id}",
            "events": f"/v1/deployments/{document.id}/events",
        }


def test_every_ending_is_told_and_a_final_one_waits_for_nothing(views: Views) -> None:
    documents = all_documents(views)
    final = [document for document in documents if document.status.is_final]
    assert {document.status for document in final} == {
        Status.SUCCEEDED,
        Status.ROLLED_BACK,
        Status.FAILED,
        Status.ABORTED,
        Status.CANCELLED,
    }
    for document in final:
        assert not document.waiting_on
        assert document.completed_at
        assert document.outcome_kind in {"decided", "errored"}
        open_ones = {StageStatus.PENDING, StageStatus.RUNNING}
        assert not open_ones & {stage.status for stage in document.stages}


def test_an_open_one_says_what_it_waits_for_and_until_when(events: Sequence[Recorded]) -> None:
    seen: dict[str, timedelta] = {}
    for stream in streams(events).values():
        document = None
        for event in stream:
            document = deployments.apply(document, event)
            assert bool(document.waiting_on) != document.status.is_final or is_between(document)
            for wait in document.waiting_on:
                assert wait.since is not None
                assert wait.until is not None
                longest = max(seen.get(wait.kind, timedelta()), wait.until - wait.since)
                seen[wait.kind] = longest
    assert seen == {
        "worker": timedelta(seconds=60),
        "target": timedelta(hours=24),
        "stage": timedelta(seconds=600),
        "monitor": timedelta(seconds=10),
        "retry": timedelta(seconds=2),
        "wait": timedelta(seconds=30),
    }


def is_between(document: StatusDocument) -> bool:
    """Say whether something follows in the same append: nothing runs, nothing is waited for."""
    return not any(stage.status is StageStatus.RUNNING for stage in document.stages)


def test_who_stands_in_line_says_for_whom(views: Views) -> None:
    (queued,) = [d for d in all_documents(views) if d.status is Status.QUEUED]
    (wait,) = queued.waiting_on
    assert (wait.kind, wait.detail) == ("target", f"deployment {queued.behind}")


def test_a_rollback_says_why_and_by_which_stages(views: Views) -> None:
    (document,) = [d for d in all_documents(views) if d.status is Status.ROLLED_BACK]
    assert document.rollback is not None
    assert document.rollback.cause == "stage_failed"
    assert document.rollback.stage == "deploy.monitor"
    assert document.rollback.stages == ("deploy.undo_switch", "deploy.undo_start")
    assert document.rollback.completed_at == document.completed_at
    statuses = {stage.name: stage.status for stage in document.stages}
    assert statuses["verify"] is StageStatus.SKIPPED
    assert document.total_stages == len(document.stages)


def test_links_between_deployments_go_both_ways(views: Views) -> None:
    documents = {document.id: document for document in all_documents(views)}
    (back,) = [document for document in documents.values() if document.rollback_of]
    assert documents[back.rollback_of or ""].rolled_back_by == back.id
    (again,) = [document for document in documents.values() if document.retry_of]
    assert documents[again.retry_of or ""].status is Status.FAILED


def test_what_is_personal_stays_sealed(views: Views) -> None:
    reasons = [document.reason for document in all_documents(views)]
    assert any(isinstance(reason, Sealed) for reason in reasons)
    assert not any(isinstance(reason, str) for reason in reasons)


def test_a_list_is_newest_first_and_pages_show_each_once(views: Views) -> None:
    whole = [document.id for document in all_documents(views)]
    found: list[str] = []
    page = Page(3)
    while True:
        with views.reading() as db:
            part = deployments.listed(db, Filters(), page)
        found += [document.id for document in part.items]
        if part.next is None:
            break
        page = Page(3, part.next)
    assert found == whole
    positions = [document.requested_position for document in all_documents(views)]
    assert positions == sorted(positions, reverse=True)


def test_a_cursor_holds_while_new_ones_come(engine: Engine, events: Sequence[Recorded]) -> None:
    views = engine.new()
    views.apply(events[:100])
    with views.reading() as db:
        first = deployments.listed(db, Filters(), Page(2))
        rest = deployments.listed(db, Filters(), Page(50, first.next))
    views.apply(events)
    with views.reading() as db:
        later = deployments.listed(db, Filters(), Page(50, first.next))
    assert [d.id for d in later.items] == [d.id for d in rest.items]


@pytest.mark.parametrize("name", ["environment", "service", "pipeline", "status"])
def test_a_filter_gives_what_is_equal_and_nothing_else(views: Views, name: str) -> None:
    everything = all_documents(views)
    values = {str(getattr(document, name)) for document in everything}
    for value in values:
        with views.reading() as db:
            found = deployments.listed(db, msgspec.convert({name: value}, Filters), Page()).items
        assert found == [d for d in everything if str(getattr(d, name)) == value]


def test_filters_are_all_obeyed_and_instants_included(views: Views) -> None:
    everything = all_documents(views)
    some = everything[5]
    filters = Filters(
        environment="staging",
        actor="sub_alice",
        since=some.requested_at,
        until=everything[2].requested_at,
    )
    with views.reading() as db:
        found = deployments.listed(db, filters, Page()).items
        nobody = deployments.listed(db, Filters(actor="sub_bob"), Page()).items
    wanted = [d for d in everything[2:6] if d.environment == "staging"]
    assert [d.id for d in found] == [d.id for d in wanted]
    assert nobody == []


@pytest.mark.parametrize("name", ["environment", "service", "pipeline", "status", "actor"])
@pytest.mark.parametrize("text", ["%", "_", "s%", "\\", "' OR 1=1--", '"', "stagin_", "\0", "☃"])
def test_a_filter_is_taken_literally(views: Views, name: str, text: str) -> None:
    with views.reading() as db:
        assert deployments.listed(db, msgspec.convert({name: text}, Filters), Page()).items == []


FORGED = [
    "",
    "abc",
    "W10",  # []
    "WzFd",  # [1]
    "bnVsbA",  # null
    "====",
    "W1tdXQ",
    "a" * 5000,
    "☃",
    "../../etc/passwd",
]


@pytest.mark.parametrize("cursor", FORGED)
def test_a_forged_cursor_is_refused(views: Views, cursor: str) -> None:
    with views.reading() as db, pytest.raises(InvalidCursorError):
        deployments.listed(db, Filters(), Page(2, cursor))


@pytest.mark.parametrize("key", ["-1", "9223372036854775808", '"x"', "1.5", "null", "1,2", "true"])
def test_a_cursor_with_a_key_of_another_kind_is_refused(views: Views, key: str) -> None:
    text = f'["deployments.requested_position",{key}]'
    with views.reading() as db, pytest.raises(InvalidCursorError):
        deployments.listed(db, Filters(), Page(2, as_cursor(text)))


def test_a_cursor_of_another_list_is_refused(views: Views) -> None:
    with views.reading() as db, pytest.raises(InvalidCursorError):
        deployments.listed(db, Filters(), Page(2, as_cursor('["audit.position",3]')))


def as_cursor(text: str) -> str:
    """Return a cursor that says this."""
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


@pytest.mark.parametrize("limit", [0, -1, MAX_LIMIT + 1, 10**9])
def test_a_limit_out_of_bounds_is_refused(views: Views, limit: int) -> None:
    with views.reading() as db, pytest.raises(InvalidError, match="limit"):
        deployments.listed(db, Filters(), Page(limit))


def test_they_are_counted_by_status(views: Views) -> None:
    with views.reading() as db:
        counts = deployments.counted(db)
    statuses = [document.status.value for document in all_documents(views)]
    assert counts == {status: statuses.count(status) for status in set(statuses)}


def test_there_is_none_where_none_was_requested(views: Views) -> None:
    with views.reading() as db:
        assert deployments.get(db, "' OR 1=1--") is None
    assert deployments.fold([]) is None

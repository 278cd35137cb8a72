"""Exports over HTTP: the stored bytes, filtered, from anywhere to an end that is fixed."""

from collections.abc import Callable
from datetime import timedelta
from urllib.parse import quote

import pytest

from shipslog.domain.access import Role
from shipslog.domain.deployment import Deployment, stream_of
from shipslog.domain.event import Header
from shipslog.projections.exports.spreadsheet import COLUMNS

from ..served import Served
from .asking import export, exported, line, lines_of, stored, table_of

FORMATS = ("ndjson", "csv")


async def test_the_whole_log_is_its_stored_lines(told: Served) -> None:
    assert lines_of(await exported(told)) == [line(event) for event in stored(told)]


async def test_a_table_has_a_row_for_every_event(told: Served) -> None:
    answer = await export(told, "format=csv")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8; header=present"
    rows = table_of(answer.body)
    assert [int(row["position"]) for row in rows] == [event.position for event in stored(told)]
    assert [row["payload"] for row in rows] == [e.payload.decode() for e in stored(told)]


async def test_the_format_is_also_what_the_client_takes(told: Served) -> None:
    as_table = await export(told, headers={"Accept": "text/csv"})
    assert as_table.body == await exported(told, "format=csv")
    as_lines = await export(told, headers={"Accept": "application/x-ndjson"})
    assert as_lines.body == await exported(told)
    assert (await export(told, headers={"Accept": "image/png"})).status == 406


@pytest.mark.parametrize("made", FORMATS)
async def test_it_goes_on_from_any_position(told: Served, made: str) -> None:
    whole = await exported(told, f"format={made}")
    head = len(stored(told))
    await told.deploy()
    for last in range(head + 1):
        begin = await exported(told, f"format={made}&until={last}")
        going_on = f"format={made}&from={last + 1}&as_of={head}&header=absent"
        assert begin + await exported(told, going_on) == whole


async def test_without_as_of_it_goes_on_to_the_log_s_new_end(told: Served) -> None:
    before = await exported(told)
    head = len(stored(told))
    await told.deploy()
    assert before + await exported(told, f"from={head + 1}") == await exported(told)
    assert await exported(told, f"as_of={head}") == before
    assert await exported(told, f"until={head}") == before


WANTED: dict[str, Callable[[Header], bool]] = {
    "environment=staging": lambda h: h.environment == "staging",
    "environment=prod": lambda _: False,
    "service=web": lambda h: h.service == "web",
    "topic=deployment.requested": lambda h: h.topic == "deployment.requested",
    "topic=target.": lambda h: h.topic.startswith("target."),
    "topic=target.&service=web": lambda h: h.service == "web" and "target." in h.topic,
    "actor=user:nobody": lambda _: False,
    "service=we": lambda _: False,
}


@pytest.mark.parametrize("query", WANTED)
async def test_filters_are_those_of_a_replay(told: Served, query: str) -> None:
    events = [(event, WANTED[query](event.header)) for event in stored(told)]
    found = lines_of(await exported(told, query))
    assert found == [line(event, is_wanted=wanted) for event, wanted in events]
    rows = table_of(await exported(told, f"format=csv&{query}"))
    assert [int(row["position"]) for row in rows] == [e.position for e, wanted in events if wanted]


async def test_an_actor_is_a_name_or_an_id(told: Served) -> None:
    await told.post(
        "/v1/deployments",
        {"pipeline": "web", "version": "2.0.0", "environment": "staging"},
        role=Role.DEPLOYER,
    )
    subject = told.subjects[Role.DEPLOYER]
    by_name = await exported(told, "actor=user:deployer")
    assert by_name == await exported(told, f"actor={subject}")
    matching = [row["position"] for row in lines_of(by_name) if row["payload"] is not None]
    assert matching == [e.position for e in stored(told) if e.header.actor == subject] != []


async def test_both_ends_of_a_period_are_included(told: Served) -> None:
    for _ in range(2):
        told.clock.ahead += timedelta(hours=1)
        await told.deploy()
    events = stored(told)
    tick = timedelta(microseconds=1)
    for event in events:
        at = event.header.recorded_at
        for begin in (at, at + tick):
            found = lines_of(await exported(told, f"from={written(begin)}"))
            assert found == [line(e) for e in events if e.header.recorded_at >= begin]
        for end in (at, at - tick):
            found = lines_of(await exported(told, f"until={written(end)}"))
            assert found == [line(e) for e in events if e.header.recorded_at <= end]


@pytest.mark.parametrize("bound", ["0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-14:00"])
async def test_a_period_may_begin_before_and_end_after_everything(told: Served, bound: str) -> None:
    everything = await exported(told)
    is_early = bound.startswith("0001")
    assert await exported(told, f"from={bound}") == (everything if is_early else b"")
    assert await exported(told, f"until={bound}") == (b"" if is_early else everything)


async def test_what_is_behind_the_end_is_nothing(told: Served) -> None:
    head = len(stored(told))
    for query in (f"from={head + 1}", "from=100000", "until=0", "from=4&until=3"):
        assert await exported(told, query) == b""
    empty = await export(told, "format=csv&from=1000")
    assert empty.body == ",".join(COLUMNS).encode() + b"\r\n"
    assert empty.headers["Export-Positions"] == f"{head + 1}-{head}"
    assert len(lines_of(await exported(told, "from=0&until=100000"))) == head


@pytest.mark.parametrize(
    "query",
    [
        "format=parquet",
        "from=-1",
        "from=yesterday",
        "from=2026-01-01",
        "from=5&until=3",
        "from=2026-02-01T00:00:00Z&until=2026-01-01T00:00:00Z",
        "topic=*",
        "topic=deployment",
        "as_of=100000",
        "header=maybe",
        "limit=5",
        "tenant=other",
        "environment=",
        "service=%00",
        "from=1&from=2",
    ],
)
async def test_a_query_that_says_nothing_is_refused(told: Served, query: str) -> None:
    before = told.fingerprint()
    for path in ("/v1/exports", "/v1/exports/manifest"):
        answer = await told.get(f"{path}?{query}")
        assert (answer.status, answer.slug) == (422, "invalid")
    assert told.fingerprint() == before


@pytest.mark.parametrize("path", ["/v1/exports", "/v1/exports/manifest"])
async def test_only_some_may_take_the_log_away(told: Served, path: str) -> None:
    may = {Role.AUDITOR, Role.OPERATOR, Role.ADMIN}
    for role in Role:
        answer = await told.get(path, role=role)
        assert answer.status == (200 if role in may else 403)
    assert (await told.get(path, role=None)).status == 401


async def test_an_export_says_what_it_is_before_it_comes(told: Served) -> None:
    head = len(stored(told))
    answer = await export(told, "from=3&until=7&format=csv")
    assert answer.headers["Ledger-Position"] == str(head)
    assert answer.headers["Export-Positions"] == "3-7"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="shipslog-3-7.csv"'
    only_head = await told.ask("HEAD", "/v1/exports?from=3&until=7&format=csv")
    assert only_head.body == b""
    for name in ("ETag", "Export-Positions", "Ledger-Position", "Link", "Content-Type"):
        assert only_head.headers[name] == answer.headers[name]


async def test_who_has_it_is_not_sent_it_again(told: Served) -> None:
    first = await export(told, "until=5")
    again = await export(told, "until=5", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
    other = await export(told, "until=6", headers={"If-None-Match": first.headers["ETag"]})
    assert other.status == 200


async def test_b38_i44_i45_free_text_stays_sealed(told: Served) -> None:
    stream = stream_of((await told.deploy())["id"])
    said = "=1+1;@SUM(A1)\t-2"
    finished = Deployment.StageFinished(stage="build", attempt=1, outcome="failed", message=said)
    await told.record(stream, Deployment.StageStarted(stage="build", attempt=1), finished)
    for made in FORMATS:
        content = (await exported(told, f"format={made}")).decode()
        assert "HYPERLINK" not in content
        assert "user:" not in content
    for row in table_of(await exported(told, "format=csv")):
        assert not [cell for cell in row.values() if cell[:1] in {"=", "+", "-", "@", "\t", "\0"}]


def written(instant: object) -> str:
    return quote(str(instant).replace(" ", "T"))

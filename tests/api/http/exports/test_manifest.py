"""Manifests over HTTP: the same for good where query and end are, and true of what was sent."""

from hashlib import sha256
from io import BytesIO

import msgspec
import pytest

from shipslog.domain.access import Role
from shipslog.projections.exports import Manifest, check

from ..served import Json, Served
from .asking import export, stored

MADE = "made"


async def manifest(served: Served, query: str, role: Role = Role.AUDITOR) -> Json:
    answer = await served.get(f"/v1/exports/manifest?{query}", role=role)
    assert answer.status == 200, answer.body
    return answer.json


@pytest.mark.parametrize("made", ["ndjson", "csv"])
@pytest.mark.parametrize("query", ["", "&topic=target.", "&from=4&until=9", "&from=500"])
async def test_the_link_leads_to_the_manifest_of_what_was_sent(
    told: Served, made: str, query: str
) -> None:
    answer = await export(told, f"format={made}{query}")
    link = answer.headers["Link"]
    assert link.endswith('>; rel="describedby"; type="application/json"')
    await told.deploy()
    found = await told.get(link[1:].partition(">")[0])
    described = msgspec.json.decode(found.body, type=Manifest)
    assert described.content.sha256 == sha256(answer.body).hexdigest()
    assert described.content.bytes == len(answer.body)
    assert not list(check(BytesIO(answer.body), described))


async def test_a_manifest_says_what_was_asked_and_what_is_covered(told: Served) -> None:
    events = stored(told)
    subject = told.subjects[Role.ADMIN]
    until = "2100-01-01T00:00:00Z"
    said = await manifest(told, f"from=3&until={until}&service=web&actor=user:admin")
    assert said["query"] == {
        "environment": None,
        "service": "web",
        "actor": subject,
        "topic": None,
        "from": 3,
        "until": until,
    }
    assert said["positions"] == {"first": 3, "last": len(events)}
    ends = [events[2].header.recorded_at, events[-1].header.recorded_at]
    assert [msgspec.convert(t, type(ends[0])) for t in said["period"].values()] == ends
    matching = [e for e in events[2:] if e.header.service == "web" and e.header.actor == subject]
    assert said["counts"] == {"events": len(events) - 2, "matched": len(matching)}
    newest = events[-1].header.payload_sha256
    assert said["log"] == {"head": len(events), "payload_sha256": newest}
    assert said[MADE]["by"] == told.subjects[Role.AUDITOR]
    assert said[MADE]["with"].startswith("shipslog ")


async def test_a_manifest_is_the_same_for_good(told: Served) -> None:
    head = len(stored(told))
    first = await manifest(told, f"format=csv&as_of={head}")
    await told.deploy()
    again = await manifest(told, f"format=csv&as_of={head}", Role.ADMIN)
    assert first.pop(MADE) != again.pop(MADE)
    assert first == again


async def test_a_manifest_of_an_empty_log(served: Served) -> None:
    said = await manifest(served, "format=ndjson")
    assert said["positions"] == {"first": 1, "last": 0}
    assert said["period"] == {"from": None, "until": None}
    assert said["log"] == {"head": 0, "payload_sha256": None}
    assert said["content"]["sha256"] == sha256(b"").hexdigest()

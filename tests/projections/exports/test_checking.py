"""Checking an export: whatever is changed, left out or put in shows, with or without a new hash."""

import hashlib
import re
from collections.abc import Callable
from datetime import timedelta
from io import BytesIO

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipslog.projections.exports import FORMATS, Manifest, Name, Query, check, read_partial

from .making import START, FewEvents, stored

LOG = FewEvents([stored(n, service="web" if n % 3 else "api") for n in range(1, 31)])
QUERY = Query(service="api")
Change = Callable[[list[bytes]], list[bytes]]


def faults(content: bytes, manifest: Manifest) -> list[str]:
    return [fault.detail for fault in check(BytesIO(content), manifest)]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("query", [Query(), QUERY, Query(service="none"), Query(topic="deploy.")])
@pytest.mark.parametrize(("first", "last"), [(1, 30), (4, 20), (9, 9), (31, 30)])
def test_an_export_is_what_its_manifest_says(
    name: Name, query: Query, first: int, last: int
) -> None:
    selection = LOG.select(name, query, first, last)
    manifest = LOG.manifest(selection)
    assert faults(LOG.export(selection), manifest) == []
    again = msgspec.json.decode(msgspec.json.encode(manifest), type=Manifest)
    assert faults(LOG.export(selection), again) == []


@pytest.mark.parametrize("name", FORMATS)
@given(data=st.data())
def test_a_changed_byte_shows(name: Name, data: st.DataObject) -> None:
    selection = LOG.select(name, QUERY)
    content = bytearray(LOG.export(selection))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    assert faults(bytes(content), LOG.manifest(selection))


CHANGES: dict[str, Change] = {
    "left out": lambda lines: lines[:4] + lines[5:],
    "cut": lambda lines: lines[:-1],
    "twice": lambda lines: [*lines[:5], *lines[4:]],
    "turned": lambda lines: [*lines[:4], lines[5], lines[4], *lines[6:]],
    "half": lambda lines: [*lines[:-1], lines[-1][:-9]],
    "no line": lambda lines: [*lines, b"{}\n"],
    "no text": lambda lines: [*lines, b"\xff\n"],
}
IN_NDJSON: dict[str, Change] = {
    "hidden": lambda lines: [re.sub(rb'"payload":".*"}', b'"payload":null}', one) for one in lines],
    "another payload": lambda lines: [one.replace(b'number\\":6', b'number\\":7') for one in lines],
    "another header": lambda lines: [one.replace(b"api", b"web") for one in lines],
    "another time": lambda lines: [one.replace(b"00:00:30", b"00:00:31") for one in lines],
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("change", CHANGES | IN_NDJSON)
def test_what_is_changed_shows_also_under_a_new_hash(name: Name, change: str) -> None:
    if name == "csv" and change in IN_NDJSON:
        return
    selection = LOG.select(name, QUERY)
    lines = (CHANGES | IN_NDJSON)[change](LOG.export(selection).splitlines(keepends=True))
    content = b"".join(lines)
    manifest = LOG.manifest(selection)
    told = msgspec.structs.replace(
        manifest.content, bytes=len(content), sha256=hashlib.sha256(content).hexdigest()
    )
    assert faults(content, manifest)[0].startswith(("bytes", "sha256"))
    found = faults(content, msgspec.structs.replace(manifest, content=told))
    assert found
    assert not found[0].startswith(("bytes", "sha256"))


def test_a_manifest_of_another_query_shows() -> None:
    content = LOG.export(LOG.select("ndjson", QUERY))
    manifest = LOG.manifest(LOG.select("ndjson", QUERY))
    other = msgspec.structs.replace(manifest, query=Query(service="web"))
    assert faults(content, other)
    counted = msgspec.structs.replace(manifest.counts, events=31)
    assert faults(content, msgspec.structs.replace(manifest, counts=counted))


def test_a_table_without_its_names_is_none() -> None:
    selection = LOG.select("csv")
    content = LOG.export(selection, has_head=False)
    assert faults(content, LOG.manifest(selection))[-1].endswith("names of the columns")


def test_the_manifest_says_what_is_covered() -> None:
    manifest = LOG.manifest(LOG.select("ndjson", Query(from_=3, service="api"), 3, 7))
    assert msgspec.to_builtins(manifest) == {
        "manifest": "shipslog-export/1",
        "format": "ndjson",
        "query": {
            "environment": None,
            "service": "api",
            "actor": None,
            "topic": None,
            "from": 3,
            "until": None,
        },
        "positions": {"first": 3, "last": 7},
        "period": {"from": "2030-01-01T00:00:03Z", "until": "2030-01-01T00:00:07Z"},
        "counts": {"events": 5, "matched": 2},
        "content": msgspec.to_builtins(manifest.content),
        "log": {"head": 30, "payload_sha256": None},
        "made": {"at": "2030-01-01T00:00:00Z", "by": "sub_auditor", "with": "shipslog 0"},
    }
    assert manifest.period.until == START + timedelta(seconds=7)


@pytest.mark.parametrize("name", FORMATS)
def test_a_cut_export_is_known_by_its_whole_lines(name: Name) -> None:
    selection = LOG.select(name)
    whole = LOG.export(selection)
    head = FORMATS[name].HEAD
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n") and i >= len(head)]
    for size in range(len(whole) + 1):
        partial = read_partial(BytesIO(whole[:size]), FORMATS[name])
        complete = [end for end in ends if end <= size]
        if not complete:
            assert partial is None
        else:
            assert partial == (complete[-1], len(complete))

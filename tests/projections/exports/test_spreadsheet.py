"""CSV exports: rows that any reader of RFC 4180 takes, and in which no cell is a formula."""

import csv
import json
import unicodedata
from io import StringIO

import pytest
from hypothesis import given

from shipslog.domain.errors import CorruptLogError
from shipslog.domain.ports import Stretch
from shipslog.projections.exports import Filter, Query
from shipslog.projections.exports.spreadsheet import COLUMNS, HEAD, chunks, plain, safe

from .making import TRICKY, FewEvents, stored


def read(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(content.decode(), newline=""), strict=True))


def is_formula(cell: str) -> bool:
    """Say what a generous spreadsheet would take for a formula, or OWASP ASVS 1.2.10 names."""
    seen = "".join(c for c in unicodedata.normalize("NFKC", cell) if c.isprintable()).lstrip()
    return seen[:1] in {"=", "+", "-", "@", "\u2212"} or cell[:1] in {"\t", "\r", "\n", "\0"}


@given(TRICKY)
def test_b38_no_text_is_a_formula_and_each_is_read_again(text: str) -> None:
    assert not is_formula(safe(text))
    assert plain(safe(text)) == text


@given(TRICKY, TRICKY)
def test_b38_a_row_is_read_again_as_it_was(environment: str, service: str) -> None:
    payload = json.dumps({"salt": "00", "text": environment + service}, ensure_ascii=False)
    log = FewEvents([stored(1, environment=environment, service=service, payload=payload)])
    (row,) = read(log.export(log.select("csv")))
    assert not any(map(is_formula, row.values()))
    assert plain(row["environment"]) == environment
    assert plain(row["service"]) == service
    assert plain(row["payload"]) == payload


@pytest.mark.parametrize(
    "sign", ["=", "+", "-", "@", "\t", "\r", "\uff1d", " =", "\u00a0\uff0b", "\0"]
)
def test_b38_what_makes_a_formula_gets_an_apostrophe(sign: str) -> None:
    log = FewEvents([stored(1, service=f"{sign}HYPERLINK(0)")])
    (row,) = read(log.export(log.select("csv")))
    assert row["service"] == f"'{sign}HYPERLINK(0)"


def test_there_is_a_column_for_every_field() -> None:
    event = stored(3, causation="deployment:1@1", correlation="3", fence="5.1")
    log = FewEvents([event])
    (row,) = read(log.export(log.select("csv")))
    assert tuple(row) == COLUMNS
    header = json.loads(json.dumps(row))
    assert header["recorded_at"] == "2030-01-01T00:00:03Z"
    assert (row["position"], row["stream"], row["fence"]) == ("1", "deployment:3", "5.1")
    assert (row["command_id"], row["command_sha256"]) == ("c" * 64, "d" * 64)
    assert row["payload"] == event.payload


def test_what_is_null_is_an_empty_cell() -> None:
    log = FewEvents([stored(1, environment=None, service=None, deployment=None)])
    (row,) = read(log.export(log.select("csv")))
    assert {row[name] for name in ("environment", "service", "deployment", "fence")} == {""}


def test_only_what_matches_has_a_row() -> None:
    log = FewEvents([stored(n, service="web" if n % 3 else "api") for n in range(1, 10)])
    rows = read(log.export(log.select("csv", Query(service="api"))))
    assert [row["position"] for row in rows] == ["3", "6", "9"]
    assert log.export(log.select("csv", Query(service="none"))) == HEAD


def test_rows_end_as_rfc_4180_has_it() -> None:
    log = FewEvents([stored(1, service='a"b,c')])
    content = log.export(log.select("csv"))
    assert content.endswith(b"\r\n")
    assert b'"a""b,c"' in content
    assert content.count(b"\n") == content.count(b"\r\n") == 2


@pytest.mark.parametrize("length", [1, 7, 200])
def test_a_part_without_its_names_goes_on_where_another_ends(length: int) -> None:
    log = FewEvents([stored(n, service="web" if n % 3 else "api") for n in range(100)], length)
    for query in (Query(), Query(service="api")):
        whole = log.export(log.select("csv", query))
        for cut in range(101):
            begin = log.export(log.select("csv", query, last=cut))
            rest = log.export(log.select("csv", query, first=cut + 1), has_head=False)
            assert begin + rest == whole


def test_a_header_that_is_none_is_not_exported() -> None:
    with pytest.raises(CorruptLogError):
        list(chunks(Stretch(5, [b'{"topic":"a.b"}\n{}']), Filter()))

"""Bodies that must not get in, by the numbers of the fault list; none leaves a trace."""

import gzip
import json
from collections.abc import AsyncGenerator
from io import BytesIO
from typing import Any

import pytest

from .served import PIPELINE, REQUEST, Served

JSON = {"Content-Type": "application/json"}
MEGABYTE = 1024 * 1024


def nested(depth: int, opening: bytes = b'{"a":', closing: bytes = b"}") -> bytes:
    return opening * (depth - 1) + b"{}" + closing * (depth - 1)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"version": "\xff"}', id="B17-bad-utf-8"),
        pytest.param(b'\xef\xbb\xbf{"version": "1"}', id="B17-byte-order-mark"),
        pytest.param('{"version": "1"}'.encode("utf-16"), id="B17-utf-16"),
        pytest.param(b'{"version": NaN}', id="B18-NaN"),
        pytest.param(b'{"version": Infinity}', id="B18-Infinity"),
        pytest.param(b'{"version": -Infinity}', id="B18-minus-Infinity"),
        pytest.param(b'{"version": "1", "version": "2"}', id="B19-twin-keys"),
        pytest.param(b'{"inputs": {"a": "1", "a": "2"}}', id="B19-twin-keys-within"),
        pytest.param(nested(33), id="B20-depth-33"),
        pytest.param(nested(100_000), id="B20-depth-100000"),
        pytest.param(b'{"a":' + nested(100_000, b"[", b"]"), id="B20-arrays"),
        pytest.param(b'{"version": ' + b"9" * 5000 + b"}", id="B21-5000-digits"),
        pytest.param(b'{"version": 9007199254740993}', id="B21-beyond-what-all-read"),
        pytest.param(b'{"version": 1e400}', id="B22-1e400"),
        pytest.param(b'{"version": -1e400}', id="B22-minus-1e400"),
        pytest.param(b"{} {}", id="B23-trailing-bytes"),
        pytest.param(b"{}\0", id="B23-trailing-nul"),
        pytest.param(b"", id="B23-empty"),
        pytest.param(b"null", id="B23-null"),
        pytest.param(b"[]", id="B23-array"),
        pytest.param(b'"text"', id="B23-text"),
        pytest.param(b"{", id="B23-half"),
    ],
)
async def test_what_is_no_plain_json_object_is_malformed(defined: Served, body: bytes) -> None:
    before = defined.fingerprint()
    for path in ("/v1/deployments", "/v1/deployments/x/abort", "/v1/tokens"):
        answer = await defined.ask("POST", path, data=body, headers=JSON)
        assert (answer.status, answer.slug) == (400, "malformed-json")
        assert len(answer.body) < 1000
    answer = await defined.ask("PUT", "/v1/pipelines/new", data=body, headers=JSON)
    assert (answer.status, answer.slug) == (400, "malformed-json")
    assert defined.fingerprint() == before


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        pytest.param(rb'{"reason": "\ud800"}', "/reason", id="B24-lone-surrogate"),
        pytest.param(rb'{"version": "\udfff1"}', "/version", id="B24-in-a-version"),
        pytest.param(rb'{"\ud800": 1}', "/?", id="B24-in-a-key"),
        pytest.param(rb'{"reason": "a\u0000b"}', "/reason", id="B25-nul-in-a-reason"),
        pytest.param(rb'{"environment": "a\u0000"}', "/environment", id="B25-nul-in-a-name"),
        pytest.param(b'{"surprise": 1}', "/surprise", id="B26-unknown-field"),
        pytest.param(b'{"version": 1}', "/version", id="version-is-no-text"),
        pytest.param(b'{"version": null}', "/version", id="version-is-null"),
        pytest.param(b'{"reason": "%s"}' % (b"x" * 4001), "/reason", id="reason-too-long"),
        pytest.param(b'{"inputs": {"a": 1}}', "/inputs/a", id="an-input-is-no-text"),
        *(
            pytest.param(b'{"%s": "x"}' % field.encode(), f"/{field}", id=f"B49-{field}")
            for field in (
                "status",
                "actor",
                "approved_by",
                "tenant_id",
                "position",
                "token",
                "created_at",
                "requested_by",
                "subject",
                "role",
                "deployment",
                "id",
            )
        ),
    ],
)
async def test_a_wrong_field_is_named_by_its_pointer(
    defined: Served, body: bytes, pointer: str
) -> None:
    before = defined.fingerprint()
    whole = json.dumps(REQUEST).encode()[:-1] + b", " + body[1:]
    if (field := pointer[1:]) in REQUEST:
        rest = {name: value for name, value in REQUEST.items() if name != field}
        whole = json.dumps(rest).encode()[:-1] + b", " + body[1:]
    answer = await defined.ask("POST", "/v1/deployments", data=whole, headers=JSON)
    assert (answer.status, answer.slug) == (422, "invalid")
    assert pointer in [fault["pointer"] for fault in answer.json["errors"]]
    assert defined.fingerprint() == before


async def test_every_missing_field_is_named(defined: Served) -> None:
    answer = await defined.post("/v1/deployments", {})
    pointers = {fault["pointer"] for fault in answer.json["errors"]}
    assert pointers == {"/pipeline", "/version", "/environment"}


@pytest.mark.parametrize(
    "media",
    [
        pytest.param("text/plain", id="B12-text"),
        pytest.param("application/x-www-form-urlencoded", id="B12-form"),
        pytest.param("multipart/form-data; boundary=x", id="B12-multipart"),
        pytest.param("application/x-python-pickle", id="B12-pickle"),
        pytest.param("application/json; charset=utf-16", id="B12-another-charset"),
        pytest.param("application/merge-patch+json", id="B12-another-json"),
        pytest.param("", id="B12-none"),
    ],
)
async def test_a_body_of_another_type_is_unsupported(defined: Served, media: str) -> None:
    before = defined.fingerprint()
    answer = await defined.ask(
        "POST", "/v1/deployments", data=json.dumps(REQUEST), headers={"Content-Type": media}
    )
    assert (answer.status, answer.slug) == (415, "unsupported-media-type")
    assert defined.fingerprint() == before


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "identity, gzip", "gzip, gzip"])
async def test_b10_a_compressed_body_is_unsupported(defined: Served, coding: str) -> None:
    bomb = gzip.compress(gzip.compress(b"\0" * 10 * MEGABYTE))
    headers = JSON | {"Content-Encoding": coding}
    answer = await defined.ask("POST", "/v1/deployments", data=bomb, headers=headers)
    assert (answer.status, answer.slug) == (415, "unsupported-media-type")


async def test_b9_a_body_of_a_mebibyte_is_read_and_one_byte_more_is_not(defined: Served) -> None:
    start, end = b'{"reason": "', b'"}'
    fill = b"x" * (MEGABYTE - len(start) - len(end))
    answer = await defined.ask(
        "POST", "/v1/deployments", data=BytesIO(start + fill + end), headers=JSON
    )
    assert answer.status == 422
    body = BytesIO(start + fill + b"x" + end)
    answer = await defined.ask("POST", "/v1/deployments", data=body, headers=JSON)
    assert (answer.status, answer.slug) == (413, "too-large")


async def test_b9_a_chunked_body_is_counted_as_it_comes(defined: Served) -> None:
    async def chunks() -> AsyncGenerator[bytes]:
        for _ in range(17):
            yield b"x" * (MEGABYTE // 16)

    answer = await defined.ask("POST", "/v1/deployments", data=chunks(), headers=JSON)
    assert (answer.status, answer.slug) == (413, "too-large")


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        pytest.param({"name": "other"}, "/name", id="B50-another-name"),
        pytest.param({"kind": "Environment"}, "/kind", id="B50-another-kind"),
        pytest.param({"surprise": 1}, "/surprise", id="B26-unknown-field"),
        pytest.param({"stages": []}, "/stages", id="B28-no-stage"),
        pytest.param({"stages": [{"name": "a", "run": "true"}]}, "/stages/0/run", id="B101-text"),
    ],
)
async def test_a_pipeline_is_refused_by_pointer(
    served: Served, document: dict[str, Any], pointer: str
) -> None:
    before = served.fingerprint()
    answer = await served.put("/v1/pipelines/web", PIPELINE | document)
    assert answer.status == 422
    assert answer.json["errors"][0]["pointer"] == pointer
    assert served.fingerprint() == before


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("pr\u043ed", id="B31-cyrillic"),
        pytest.param("PROD", id="B32-capitals"),
        pytest.param("pro\u200bd", id="B33-zero-width"),
        pytest.param("\uff50rod", id="B33-full-width"),
        pytest.param("cafe\u0301", id="B33-decomposed"),
        pytest.param("\u202edorp", id="B34-right-to-left"),
        pytest.param("..%2Fx", id="B35-parent"),
        pytest.param("a%2Fb", id="B35-slash"),
        pytest.param("-rf", id="B35-dash"),
        pytest.param("a" * 300, id="B35-too-long"),
        pytest.param("%1B[31mred", id="B36-escape"),
    ],
)
async def test_a_name_is_plain(served: Served, name: str) -> None:
    before = served.fingerprint()
    answer = await served.put(f"/v1/environments/{name}", {})
    assert (answer.status, answer.slug) == (422, "invalid")
    assert answer.json["errors"][0]["pointer"] == "/name"
    assert len(answer.body) < 1500
    assert served.fingerprint() == before

"""Verbs for the files a user writes: apply them, and see what a deployment would do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, cast

import typer

from ..terminal import output
from ..wire.shapes import Document, ProblemError
from .asking import ExitCode, ask
from .options import Artifact, AsJson, EnvironmentName, PipelineName, Version

if TYPE_CHECKING:
    from ..client import Answer, Client

PATHS = {"Environment": "/v1/environments/", "Pipeline": "/v1/pipelines/"}
NOT_FOUND, STALE = 404, 412
PLAN_COLUMNS = ("STAGE", "KIND", "NEEDS", "TIMEOUT")


class Applied(NamedTuple):
    """What came of a document."""

    kind: str
    name: str
    result: str
    """`created`, `changed` or `unchanged`."""
    document: Document


def apply(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE…", help="YAML, JSON or Python files.")
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Define the environments and pipelines that stand in files; all are checked before any."""
    from ..assembly import read_files

    documents = read_files(files)
    for document in documents:
        document.checked()

    async def applied(client: Client) -> list[Applied]:
        return [await _applied(client, document.fields) for document in documents]

    results = ask(applied)
    if as_json:
        output.put_json({"items": [result.document for result in results], "next": None})
    else:
        columns = ("KIND", "NAME", "RESULT")
        output.put_table(columns, [(r.kind, r.name, r.result) for r in results])


def plan(
    pipeline: PipelineName,
    version: Version,
    environment: EnvironmentName,
    *,
    artifact: Artifact = None,
    as_json: AsJson = False,
) -> ExitCode:
    """Show what a deployment would do and what would hold it; nothing is written."""
    body = {"pipeline": pipeline, "version": version, "environment": environment}
    if artifact:
        body["artifact"] = artifact
    preview = ask(lambda client: client.post("/v1/deployments?validate_only=true", body)).document
    if as_json:
        output.put_json(preview)
        return ExitCode.DONE
    output.put_table(PLAN_COLUMNS, map(_stage_row, preview["plan"]["stages"]))
    output.say(f"plan {preview['plan_hash']}")
    for wait in preview["waiting_on"]:
        output.say(f"would wait for {wait['kind']}: {wait['detail']}")
    return ExitCode.DONE


async def _applied(client: Client, document: Document) -> Applied:
    path = PATHS[document["kind"]] + document["name"]
    before = await _read(client, path)
    try:
        return await _put(client, path, document, before)
    except ProblemError as error:
        if error.status != STALE:
            raise
    # Somebody was faster: once more on top of theirs, and say what of it is lost.
    theirs = await _read(client, path)
    name = f"{document['kind']} {document['name']}"
    for change in changes(before.document if before else {}, theirs.document if theirs else {}):
        output.say(f"{name} was changed meanwhile: {change}")
    return await _put(client, path, document, theirs)


async def _read(client: Client, path: str) -> Answer | None:
    try:
        return await client.get(path)
    except ProblemError as error:
        if error.status == NOT_FOUND:
            return None
        raise


async def _put(client: Client, path: str, document: Document, before: Answer | None) -> Applied:
    after = await client.put(path, document, etag=before.etag if before else None)
    if before is None:
        result = "created"
    else:
        result = "unchanged" if after.etag == before.etag else "changed"
    return Applied(document["kind"], document["name"], result, after.document)


def changes(before: Any, after: Any, pointer: str = "") -> Iterator[str]:  # noqa: ANN401 - JSON
    """Yield a line for each value that differs between two documents, by its JSON pointer."""
    if isinstance(before, dict) and isinstance(after, dict):
        old, new = cast("Document", before), cast("Document", after)
        for name in sorted({*old, *new}):
            yield from changes(old.get(name), new.get(name), f"{pointer}/{name}")
    elif before != after:
        yield f"{pointer} {before!r} → {after!r}"


def _stage_row(stage: Document) -> tuple[object, ...]:
    kind = stage["spec"]["kind"]
    return stage["name"], kind, ", ".join(stage["needs"]), f"{stage['timeout']:g}s"

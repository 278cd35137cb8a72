"""Verbs of the auditor: replay, verify, rebuild; they need the data folder and no server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..terminal import output, rows
from ..wire.shapes import Document
from .asking import ExitCode
from .here import at_server_or_here, with_archive, with_services
from .options import AsJson, AsOf

if TYPE_CHECKING:
    from ...projections.follower import Rebuilt, Views
    from ...projections.replay import Replayed
    from ..assembly import Archive
    from ..client import Client
    from ..services import Services
    from .replaying import Transition


def replay(
    deployment: Annotated[
        str, typer.Argument(metavar="[ID]", help="A deployment's id, or a stream's name.")
    ] = "",
    *,
    everything: Annotated[bool, typer.Option("--all", help="Fold the whole log.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Compare every read model with the log.")
    ] = False,
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> ExitCode:
    """Fold the log again: one deployment step by step, all of it, or to check the read models."""
    if [bool(deployment), everything, check].count(True) != 1:
        message = "replay takes an ID, or --all, or --check."
        raise typer.BadParameter(message)
    if check and as_of:
        message = "--check looks at the read models as they are: without --as-of."
        raise typer.BadParameter(message)
    if check:
        return _check(as_json=as_json)
    if everything:
        return _replay_all(as_of, as_json=as_json)
    return _replay_one(deployment, as_of, as_json=as_json)


def verify(*, as_json: AsJson = False) -> ExitCode:
    """Check every event: hashes, columns, order, and that no position is missing."""
    import msgspec

    from ..assembly import missing

    async def verified(opened: Archive, rows: Views) -> tuple[int, list[Document]]:
        position = await opened.log.head()
        found = [*opened.log.verify(), *await missing(opened, rows)]
        return position, [msgspec.to_builtins(finding) for finding in found]

    position, findings = with_archive(verified)
    if as_json:
        output.put_json({"position": position, "findings": findings})
    else:
        columns = ("POSITION", "STREAM", "FINDING")
        output.put_table(columns, [tuple(finding.values()) for finding in findings])
        output.say(f"{position} events, {len(findings)} findings")
    return ExitCode.FAILED if findings else ExitCode.DONE


def rebuild(
    *,
    stream: Annotated[str | None, typer.Option(help="Only what depends on this stream.")] = None,
    as_json: AsJson = False,
) -> None:
    """Fold the log into the read models anew, beside those that are read meanwhile."""
    done = at_server_or_here(lambda client: _rebuilt(client, stream), lambda: _rebuild_here(stream))
    if as_json:
        output.put_json(done)
    else:
        output.put_table(("POSITION", "EVENTS", "SECONDS"), [tuple(done.values())])


def _replay_one(name: str, as_of: str | None, *, as_json: bool) -> ExitCode:
    import msgspec

    from .replaying import Replay, position_meant

    stream = name if ":" in name else f"deployment:{name}"

    async def transitions(opened: Archive, _: Views) -> list[Transition]:
        return await Replay(opened, await position_meant(opened, as_of)).transitions(stream)

    steps = with_archive(transitions)
    if as_json:
        output.put_json({"items": [msgspec.to_builtins(step) for step in steps], "next": None})
    else:
        output.put_table(rows.STEP_COLUMNS, map(_step_row, steps))
    return ExitCode.DONE


def _replay_all(as_of: str | None, *, as_json: bool) -> ExitCode:
    import msgspec

    from ...projections.replay import replay_all
    from .replaying import position_meant

    async def folded(opened: Archive, _: Views) -> Replayed:
        return replay_all(opened.log.scan(upto=await position_meant(opened, as_of)))

    replayed = with_archive(folded)
    figures: dict[str, Any] = msgspec.to_builtins(replayed)
    figures["events_per_second"] = round(replayed.events_per_second)
    if as_json:
        output.put_json(figures)
        return ExitCode.DONE
    output.put_table(("COUNTED", "NAME", "NUMBER"), _counts(figures))
    output.say(
        f"{replayed.position} events in {replayed.seconds:.2f} s,"
        f" {replayed.events_per_second:,.0f} a second"
    )
    return ExitCode.DONE


def _check(*, as_json: bool) -> ExitCode:
    import msgspec

    from ...projections.replay import check

    async def checked(opened: Archive, rows: Views) -> tuple[list[Document], list[Document]]:
        findings = [msgspec.to_builtins(finding) for finding in opened.log.verify()]
        differences = check(opened.log.scan(), rows)
        return findings, [msgspec.to_builtins(one, enc_hook=str) for one in differences]

    findings, differences = with_archive(checked)
    if as_json:
        output.put_json({"findings": findings, "differences": differences})
    else:
        columns = ("WHERE", "WHAT", "KEY", "STORED", "FOLDED", "COLUMNS")
        output.put_table(columns, _faults(findings, differences))
        output.say(f"{len(findings)} findings in the log, {len(differences)} differing rows")
    return ExitCode.FAILED if findings or differences else ExitCode.DONE


def _counts(figures: Document) -> Iterator[rows.Row]:
    for counted in ("streams", "statuses", "topics"):
        for name, number in sorted(figures[counted].items()):
            yield counted, name, number


def _faults(findings: list[Document], differences: list[Document]) -> Iterator[rows.Row]:
    for found in findings:
        yield "log", found["detail"], found["position"], found["stream"], None, None
    for one in differences:
        key, columns = "/".join(map(str, one["key"])), ", ".join(one["columns"])
        yield (
            f"{one['model']}.{one['table']}",
            "differs",
            key,
            one["stored"],
            one["folded"],
            columns,
        )


def _step_row(step: Transition) -> rows.Row:
    import msgspec

    event: Any = msgspec.to_builtins(step.event)
    state: Any = msgspec.to_builtins(step.state)
    return rows.step_row(event, state)


async def _rebuilt(client: Client, stream: str | None) -> Document:
    body = {} if stream is None else {"stream": stream}
    done: Document = (await client.post("/v1/views/rebuild", body)).document
    return done


def _rebuild_here(stream: str | None) -> Document:
    import msgspec

    async def rebuilt(services: Services) -> Rebuilt:
        follower = services.follower
        return await (follower.rebuild_stream(stream) if stream else follower.rebuild())

    done: Document = msgspec.to_builtins(with_services(rebuilt))
    return done

"""Verbs of the administrator: tokens, and what the ledger is kept in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from ...domain.errors import NotFoundError
from ..terminal import output
from ..wire.shapes import Document
from .asking import ExitCode
from .here import at_server_or_here, with_services, with_settings
from .options import AsJson, duration

if TYPE_CHECKING:
    from ..client import Client
    from ..services import Services

TOKENS = "/v1/tokens"
TOKEN_COLUMNS = ("ID", "SUBJECT", "ROLE", "CREATED", "EXPIRES", "USED")
TOKEN_FIELDS = ("id", "subject", "role", "created_at", "expires_at", "last_used_at")
Facts = Mapping[str, Any]
DATABASE_COLUMNS = ("FACT", "VALUE")


def create_token(
    subject: Annotated[
        str, typer.Argument(metavar="SUBJECT", help="NAME, user:NAME or service:NAME.")
    ],
    *,
    role: Annotated[str, typer.Option(help="viewer, auditor, deployer, operator or admin.")],
    expires: Annotated[
        float | None,
        typer.Option(parser=duration, metavar="DURATION", help="Void after so long, such as 30d."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make out a token; its secret is shown this once."""
    body: Document = {"subject": subject, "role": role}
    if expires is not None:
        body["expires_at"] = (datetime.now(UTC) + timedelta(seconds=expires)).isoformat()
    created = at_server_or_here(lambda client: _created(client, body), lambda: _create_here(body))
    if as_json:
        output.put_json(created)
    else:
        output.put(output.clean(created["token"]))
        output.say(f"{created['id']} of {created['subject']}, {created['role']}: shown this once")


def list_tokens(*, as_json: AsJson = False) -> None:
    """List the tokens that are not revoked."""
    tokens = at_server_or_here(_listed, _list_here)
    if as_json:
        output.put_json({"items": tokens, "next": None})
    else:
        output.put_table(
            TOKEN_COLUMNS, ([token[field] for field in TOKEN_FIELDS] for token in tokens)
        )


def revoke_token(
    token: Annotated[str, typer.Argument(metavar="ID", help="A token's id, as listed.")],
) -> None:
    """Void a token from now on."""
    at_server_or_here(lambda client: _revoked(client, token), lambda: _revoke_here(token))
    output.say(f"{token} is void.")


def database_create(*, as_json: AsJson = False) -> None:
    """Make the ledger and its read models where there are none; what is there stays."""
    from ..assembly import databases

    _put_facts(with_settings(databases.make), as_json=as_json)


def database_upgrade(*, as_json: AsJson = False) -> None:
    """Bring what an earlier build made to this build's form; on SQLite `up` does so itself."""
    from ..assembly import databases

    _put_facts(with_settings(databases.upgrade), as_json=as_json)


def database_check(*, as_json: AsJson = False) -> ExitCode:
    """Check that the store refuses what it must, and that every event is as it was written."""
    from ..assembly import databases

    faults = with_settings(databases.check)
    if as_json:
        output.put_json({"findings": faults})
    else:
        output.put_table(("FINDING",), [(fault,) for fault in faults])
        output.say(f"{len(faults)} findings")
    return ExitCode.FAILED if faults else ExitCode.DONE


def database_status(*, as_json: AsJson = False) -> None:
    """Say what the store holds, and how far its read models are."""
    from ..assembly import databases

    _put_facts(with_settings(databases.status), as_json=as_json)


def database_accept(*, as_json: AsJson = False) -> None:
    """Go on with a log that has lost events which this host has seen, as after a failover."""
    from ..assembly import databases

    _put_facts(with_settings(databases.accept), as_json=as_json)


def _put_facts(facts: Facts, *, as_json: bool) -> None:
    if as_json:
        output.put_json(facts)
    else:
        output.put_table(DATABASE_COLUMNS, _flat(facts))


def _flat(facts: Facts) -> Iterator[tuple[str, object]]:
    for name, value in facts.items():
        if isinstance(value, dict):
            yield from ((f"{name} of {part}", inner) for part, inner in _flat(cast("Facts", value)))
        else:
            yield name, value


async def _created(client: Client, body: Document) -> Document:
    created: Document = (await client.post(TOKENS, body)).document
    return created


def _create_here(body: Document) -> Document:
    import msgspec

    from ...domain.language.parsing import parse
    from ..routes.tokens import NewToken, create

    asked = parse(NewToken, body)
    created = with_services(lambda services: create(services, asked))
    document: Document = msgspec.to_builtins(created)
    return document


async def _listed(client: Client) -> list[Document]:
    return [token async for token in client.items(TOKENS)]


def _list_here() -> list[Document]:
    import msgspec

    from ..routes.tokens import listed

    async def here(services: Services) -> list[Document]:
        return [msgspec.to_builtins(token) for token in await listed(services)]

    return with_services(here)


async def _revoked(client: Client, token: str) -> None:
    from ..client import segment

    await client.delete(f"{TOKENS}/{segment(token)}")


def _revoke_here(token: str) -> None:
    if not with_services(lambda services: services.tokens.revoke(token)):
        raise NotFoundError(kind="token")

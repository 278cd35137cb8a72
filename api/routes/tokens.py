"""Routes of bearer tokens: make one out, list them, take one back."""

from __future__ import annotations

import re
from collections import OrderedDict
from hashlib import sha256
from http import HTTPStatus
from typing import Annotated

from aiohttp import web
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from ...domain.access import Permission, Role
from ...domain.errors import IdempotencyMismatchError, InvalidError, NotFoundError
from ...domain.language.fields import refuse
from ..services import Services
from ..wire import answers
from ..wire.documents import NewTokenDocument, Page, TokenDocument
from ..wire.endpoint import Call, Gives, Table
from ..wire.shown import called

routes = Table()
MAX_KEPT = 100
_SUBJECT = re.compile(r"(?:(user|service):)?([^\s\x00-\x1f\x7f:]{1,200})")


def _subject(text: str) -> str:
    if not _SUBJECT.fullmatch(text) or not text.isprintable():
        refuse("A subject is NAME, user:NAME or service:NAME, without blanks or colons in NAME.")
    return text


class NewToken(BaseModel):
    """For whom a token is made out, as what, and until when."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    subject: Annotated[str, AfterValidator(_subject)]
    role: Annotated[Role, Field(strict=False)]
    expires_at: Annotated[AwareDatetime | None, Field(strict=False)] = None


class Kept:
    """What was answered to the newest keys, so that a repeat makes no second token.

    In memory alone: a secret is stored nowhere, so it can be told again only for a while.
    """

    def __init__(self) -> None:
        self._answers: OrderedDict[tuple[str, str], tuple[bytes, NewTokenDocument]] = OrderedDict()

    def get(self, call: Call) -> NewTokenDocument | None:
        """Return what a call's key was answered with; IdempotencyMismatchError for another body."""
        if call.key is None or (known := self._answers.get((call.actor.subject, call.key))) is None:
            return None
        if known[0] != sha256(call.raw).digest():
            raise IdempotencyMismatchError
        return known[1]

    def put(self, call: Call, document: NewTokenDocument) -> None:
        """Keep an answer."""
        if call.key is not None:
            digest = sha256(call.raw).digest()
            self._answers[call.actor.subject, call.key] = digest, document
            if len(self._answers) > MAX_KEPT:
                self._answers.popitem(last=False)


KEPT = web.AppKey("kept", Kept)


@routes.post(
    "/v1/tokens",
    needs=Permission.TOKEN_CREATE,
    body=NewToken,
    gives=(Gives(HTTPStatus.CREATED, NewTokenDocument),),
)
async def create_token(call: Call) -> web.StreamResponse:
    """Make out a token; its secret is in this answer and nowhere else."""
    kept = call.request.app[KEPT]
    document = kept.get(call)
    if document is None:
        document = await create(call.services, call.body(NewToken))
        kept.put(call, document)
    return answers.document(call.request, document, status=HTTPStatus.CREATED)


@routes.get(
    "/v1/tokens",
    needs=Permission.TOKEN_CREATE,
    gives=(Gives(HTTPStatus.OK, Page[TokenDocument]),),
)
async def list_tokens(call: Call) -> web.StreamResponse:
    """List the tokens that are not revoked, without their secrets."""
    return answers.document(call.request, Page(await listed(call.services), None))


@routes.delete(
    "/v1/tokens/{id}",
    needs=Permission.TOKEN_CREATE,
    gives=(Gives(HTTPStatus.NO_CONTENT, None),),
)
async def revoke_token(call: Call) -> web.StreamResponse:
    """Void a token from now on."""
    if not await call.services.tokens.revoke(call.named["id"]):
        raise NotFoundError(kind="token")
    call.gatekeeper.forget()
    return web.Response(status=HTTPStatus.NO_CONTENT)


async def create(services: Services, asked: NewToken) -> NewTokenDocument:
    """Make out a token. Errors: InvalidError for one that would be void already."""
    if asked.expires_at and asked.expires_at <= services.clock.now():
        message = "This instant has passed."
        raise InvalidError(message, pointer="/expires_at")
    kind, _, name = asked.subject.rpartition(":")
    subject = await services.directory.ensure(kind or "user", name)
    secret, token = await services.tokens.create(subject, asked.role, asked.expires_at)
    return NewTokenDocument(
        id=token.id,
        subject=f"{kind or 'user'}:{name}",
        role=token.role,
        token=secret,
        expires_at=token.expires_at,
    )


async def listed(services: Services) -> list[TokenDocument]:
    """Return the tokens that are not revoked, without their secrets."""
    tokens = await services.tokens.list()
    people = await services.directory.resolve({token.subject for token in tokens})
    return [
        TokenDocument(
            id=token.id,
            subject=called(people.get(token.subject)),
            role=token.role,
            created_at=token.created_at,
            expires_at=token.expires_at,
            last_used_at=token.last_used_at,
        )
        for token in tokens
    ]

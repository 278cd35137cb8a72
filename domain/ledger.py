"""The one door: every change a person asks for goes through `carry_out(command, actor)`.

Permission, rules, a pure decision, one append. `Ledger` is the same door in memory, over the
eventsourcing library's own application, for tests and readers.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import Protocol
from weakref import WeakValueDictionary

import msgspec
import stamina

from .access import Actor, require
from .admission import is_limited, what_holds
from .append import Append, Appended
from .commands import (
    AbortDeployment,
    Command,
    DefineEnvironment,
    DefinePipeline,
    RequestDeployment,
    RetryDeployment,
    RollbackDeployment,
)
from .definition import stream_of as definition_stream
from .deployment import Deployment
from .deployment import stream_of as deployment_stream
from .environment import Environment
from .environment import stream_of as environment_stream
from .errors import ConflictError, LedgerError, RefusedError
from .event import CommandRef, Recorded, Sealed
from .handlers import HANDLERS, Visit
from .language import canonical
from .plan import Plan
from .ports import Clock, Log
from .streams import Reading, Streams
from .target import Target
from .target import stream_of as target_stream
from .transaction import Aggregate, Transaction

CONFLICT_ATTEMPTS = 5


class Sealer(Protocol):
    """Seals personal texts under the key of their subject."""

    async def seal(self, subject: str, text: str) -> Sealed:
        """Return the sealed text; the key is durable before this returns."""
        ...


class Receipt(msgspec.Struct, frozen=True):
    """What a command wrote, and where: the last position is its `Ledger-Position`."""

    position: int
    first: int
    stream: str
    known: bool = False
    wrote: bool = True
    """Whether events stand there that are the command's own."""
    events: tuple[Recorded, ...] = ()
    """What it has written; nothing where it was known."""
    states: Mapping[str, Aggregate] = {}
    """The streams that it touched, as they are after it; nothing where it was known."""


class Preview(msgspec.Struct, frozen=True):
    """What a request would do, and what would hold it."""

    plan: Plan
    plan_hash: str
    waiting_on: tuple[dict[str, str | None], ...]


class Door:
    """Carries out people's commands against a log."""

    def __init__(
        self, log: Log, clock: Clock, sealer: Sealer, allow: Callable[[str], str] = str
    ) -> None:
        """Open the door to a log; `allow` returns a pipeline's source, or refuses it."""
        self.streams = Streams(log)
        self._allow = allow
        self._log = log
        self._clock = clock
        self._sealer = sealer
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def carry_out(self, command: Command, actor: Actor, *, key: str | None = None) -> Receipt:
        """Do what a command says, once for each (actor, key), and return where it stands.

        Errors: DeniedError, every RefusedError of the command's handler, ConflictError after five
        tries, OutcomeUnknownError.
        """
        require(actor, command.permission)
        reference = _reference(command, actor, key)
        if key and (known := await self._known(command, reference)):
            return known
        try:
            return await self._carried_out(command, actor, reference, is_noted=key is not None)
        except RefusedError:
            # What refused it may be itself, which has come twice at once and was carried out.
            if key and (known := await self._known(command, reference)):
                return known
            raise

    async def _known(self, command: Command, reference: CommandRef) -> Receipt | None:
        """Return where a command stands that was carried out before; None for another body."""
        known = await self._log.command(reference.id)
        if known and not known.events:
            return await self._changed_nothing(_concerned(command), reference)
        if known and known.events[0].header.command.sha256 == reference.sha256:
            return _receipt(msgspec.structs.replace(known, known=True))
        return None

    async def _carried_out(
        self, command: Command, actor: Actor, reference: CommandRef, *, is_noted: bool
    ) -> Receipt:
        sealed = await self._seal(command, actor)
        noted = reference if is_noted else None
        async with await self._turn(command):
            visit = self._visit(actor, reference, sealed, is_fresh=False)
            if done := await self._try_at_hand(command, visit):
                return done
            async for attempt in _retries():
                with attempt:
                    visit = self._visit(actor, reference, sealed)
                    return await self._try(command, visit, noted)
        raise AssertionError  # pragma: no cover - the retries return or raise

    async def preview(self, command: RequestDeployment, actor: Actor) -> Preview:
        """Say what a request would do; nothing is written."""
        require(actor, command.permission)
        visit = self._visit(actor, CommandRef("", ""), None)
        stream = await HANDLERS[RequestDeployment](command, visit)
        plan = visit.transaction.state(Deployment, stream).recorded_plan
        target = await self.streams.load(Target, target_stream(plan.target))
        return Preview(plan, plan.hash(), tuple(what_holds(target, self._clock.now())))

    async def _try_at_hand(self, command: Command, visit: Visit) -> Receipt | None:
        """Decide on what was last seen; None where the log has to be asked.

        An append finds out what has moved since; a refusal, and no change, would rest on nothing.
        """
        try:
            await HANDLERS[type(command)](command, visit)
        except LedgerError:
            if not visit.streams.versions:
                raise
            return None
        if visit.transaction.is_empty:
            return None
        with suppress(ConflictError):
            return await self._append(visit)
        return None

    async def _try(self, command: Command, visit: Visit, reference: CommandRef | None) -> Receipt:
        stream = await HANDLERS[type(command)](command, visit)
        if visit.transaction.is_empty:
            return await self._changed_nothing(stream, reference)
        return await self._append(visit)

    async def _append(self, visit: Visit) -> Receipt:
        appended = await self._log.append(visit.transaction.append(visit.streams.versions))
        self.streams.stored(appended.events)
        receipt = _receipt(appended)
        if appended.known:
            return receipt
        states = visit.transaction.states
        return msgspec.structs.replace(receipt, events=appended.events, states=states)

    async def _changed_nothing(self, stream: str, reference: CommandRef | None) -> Receipt:
        """Return where the log stands; a command with a key has that noted, or finds it noted.

        Errors: IdempotencyMismatchError.
        """
        if reference is None:
            head = await self._log.head()
            return Receipt(position=head, first=head, stream=stream, wrote=False)
        appended = await self._log.append(Append(drafts=(), commands=(reference,)))
        if appended.events:
            return _receipt(appended)
        at, known = appended.last, appended.known
        return Receipt(position=at, first=at, stream=stream, known=known, wrote=False)

    def _visit(
        self,
        actor: Actor,
        reference: CommandRef,
        sealed: Sealed | None,
        *,
        is_fresh: bool = True,
    ) -> Visit:
        transaction = Transaction(now=self._clock.now(), actor=actor.subject)
        transaction.obey(reference)
        streams = Reading(self.streams, is_fresh=is_fresh)
        return Visit(transaction, streams, sealed, self._allow)

    async def _seal(self, command: Command, actor: Actor) -> Sealed | None:
        reason: str | None = getattr(command, "reason", None)
        return await self._sealer.seal(actor.subject, reason) if reason else None

    async def _turn(self, command: Command) -> asyncio.Lock:
        """Return the lock of those commands of this process that would only conflict."""
        match command:
            case RequestDeployment(environment=name, pipeline=pipeline):
                where = await self.streams.seen(Environment, environment_stream(name))
                # A limited environment counts in its own stream.
                name = name if is_limited(where) else f"{name}/{pipeline}"
            case RetryDeployment(deployment=name) | RollbackDeployment(deployment=name):
                pass
            case _:
                name = secrets.token_hex(8)
        return self._locks.setdefault(name, asyncio.Lock())


def _receipt(appended: Appended) -> Receipt:
    return Receipt(
        position=appended.last,
        first=appended.first,
        stream=appended.events[0].header.stream,
        known=appended.known,
    )


def _retries() -> AsyncIterator[stamina.Attempt]:
    """Return the tries after the first one, which rest on what the log says."""
    return stamina.retry_context(
        on=ConflictError,
        attempts=CONFLICT_ATTEMPTS - 1,
        wait_initial=0.005,
        wait_max=0.1,
        timeout=None,
    ).__aiter__()


def _concerned(command: Command) -> str:
    """Return the stream of a command that may have nothing to change."""
    match command:
        case AbortDeployment(deployment=name) | RollbackDeployment(deployment=name):
            return deployment_stream(name)
        case DefineEnvironment(name=name):
            return environment_stream(name)
        case DefinePipeline(name=name):
            return definition_stream(name)
        case _:
            raise TypeError(command)


def _reference(command: Command, actor: Actor, key: str | None) -> CommandRef:
    body = {"command": type(command).__name__, **command.model_dump(mode="json")}
    digest = hashlib.sha256(canonical.dumps(body)).hexdigest()
    # Without a key every call is new: the id must only never meet another one.
    unique = key if key is not None else secrets.token_hex(16)
    return CommandRef(hashlib.sha256(f"{actor.subject}\n{unique}".encode()).hexdigest(), digest)

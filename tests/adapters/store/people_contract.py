"""The contract of what knows people: directory, keyring and tokens."""

import asyncio
from datetime import timedelta

import msgspec
import pytest

from shipslog.adapters.store.bearer import is_token, new_token
from shipslog.adapters.store.errors import DamagedTextError
from shipslog.domain.access import Actor, Role
from shipslog.domain.errors import NotFoundError
from shipslog.domain.event import Sealed

from .contract import Contract, OpenStore, Store, shut
from .making import START, HandClock, Happened, one


class PeopleContract(Contract):
    async def test_a_name_has_one_subject(self, store: Store, open_store: OpenStore) -> None:
        ids = await asyncio.gather(*(store.directory.ensure("user", "alice") for _ in range(5)))
        service = await store.directory.ensure("service", "alice")
        assert len({*ids, service}) == 2
        assert ids[0].startswith("sub_")
        assert "alice" not in ids[0]
        await shut(store)
        reopened = await open_store()
        assert await reopened.directory.find("user", "alice") == ids[0]
        assert await reopened.directory.find("user", "bob") is None
        await shut(reopened)

    async def test_subjects_are_resolved_to_kind_and_name(self, store: Store) -> None:
        alice = await store.directory.ensure("user", "alice")
        known = await store.directory.resolve([alice, "sub_unknown"])
        assert {k: (p.kind, p.name) for k, p in known.items()} == {alice: ("user", "alice")}
        assert await store.directory.resolve([]) == {}

    async def test_an_erased_subject_has_no_name_no_key_and_no_token(self, store: Store) -> None:
        alice = await store.directory.ensure("user", "alice")
        sealed = await store.keyring.seal(alice, "for Bob")
        secret, _ = await store.tokens.create(alice, Role.DEPLOYER, None)
        assert await store.directory.erasures() == 0
        await store.directory.erase(alice)
        assert await store.directory.erasures() == 1
        assert (await store.directory.resolve([alice]))[alice].name is None
        assert await store.directory.find("user", "alice") is None
        assert await store.keyring.open([sealed]) == {sealed: None}
        assert await store.tokens.find(secret) is None
        assert await store.directory.ensure("user", "alice") != alice
        await store.directory.erase(alice)
        assert await store.directory.erasures() == 1

    async def test_only_a_known_subject_is_erased(self, store: Store) -> None:
        with pytest.raises(NotFoundError):
            await store.directory.erase("sub_unknown")

    @pytest.mark.parametrize("text", ["because", "", "ünï\u2028cödé\n" * 1000])
    async def test_a_sealed_text_opens_again(self, store: Store, text: str) -> None:
        alice = await store.directory.ensure("user", "alice")
        sealed = await store.keyring.seal(alice, text)
        assert text not in sealed.ciphertext or not text
        assert await store.keyring.open([sealed]) == {sealed: text}

    async def test_a_subject_has_one_key_and_no_text_the_same_nonce(self, store: Store) -> None:
        alice = await store.directory.ensure("user", "alice")
        bob = await store.directory.ensure("user", "bob")
        sealing = (store.keyring.seal(alice, "same") for _ in range(20))
        sealed = await asyncio.gather(*sealing, store.keyring.seal(bob, "same"))
        assert len({one.key for one in sealed[:20]}) == 1
        assert sealed[20].key != sealed[0].key
        assert len({one.nonce for one in sealed}) == 21
        assert await store.keyring.open(sealed) == dict.fromkeys(sealed, "same")
        assert await store.keyring.open([]) == {}

    async def test_a_key_is_durable_before_what_it_seals(
        self, store: Store, open_store: OpenStore
    ) -> None:
        alice = await store.directory.ensure("user", "alice")
        sealed = await store.keyring.seal(alice, "because")
        await shut(store)
        reopened = await open_store()
        assert await reopened.keyring.open([sealed]) == {sealed: "because"}
        assert (await reopened.keyring.seal(alice, "again")).key == sealed.key
        await shut(reopened)

    async def test_a_sealed_event_is_stored_and_opens(self, store: Store) -> None:
        alice = await store.directory.ensure("user", "alice")
        sealed = await store.keyring.seal(alice, "because of Bob")
        event = Happened(why=sealed)
        (stored,) = (await store.log.append(one("a", 1, event=event))).events
        assert b"of Bob" not in stored.payload  # a space, which no base64 holds by chance
        assert isinstance(stored.event, Happened)
        assert isinstance(stored.event.why, Sealed)
        assert await store.keyring.open([stored.event.why]) == {stored.event.why: "because of Bob"}

    @pytest.mark.parametrize("field", ["nonce", "ciphertext"])
    async def test_a_damaged_text_is_found_out(self, store: Store, field: str) -> None:
        alice = await store.directory.ensure("user", "alice")
        sealed = await store.keyring.seal(alice, "because")
        digits = getattr(sealed, field)
        wrong = digits[:-2] + ("A" if digits[-2] != "A" else "B") + digits[-1]
        with pytest.raises(DamagedTextError):
            await store.keyring.open([msgspec.structs.replace(sealed, **{field: wrong})])
        with pytest.raises(DamagedTextError):
            await store.keyring.open([Sealed(sealed.key, "", sealed.ciphertext)])

    async def test_a_text_does_not_open_under_another_key(self, store: Store) -> None:
        alice = await store.directory.ensure("user", "alice")
        bob = await store.directory.ensure("user", "bob")
        ours, theirs = [await store.keyring.seal(one, "text") for one in (alice, bob)]
        with pytest.raises(DamagedTextError):
            await store.keyring.open([msgspec.structs.replace(ours, key=theirs.key)])

    async def test_nobody_unknown_seals_or_gets_a_token(self, store: Store) -> None:
        with pytest.raises(NotFoundError):
            await store.keyring.seal("sub_unknown", "text")
        with pytest.raises(NotFoundError):
            await store.tokens.create("sub_unknown", Role.VIEWER, None)

    async def test_a_token_says_who_asks(self, store: Store, open_store: OpenStore) -> None:
        alice = await store.directory.ensure("user", "alice")
        secret, row = await store.tokens.create(alice, Role.DEPLOYER, None)
        assert await store.tokens.find(secret) == Actor(alice, Role.DEPLOYER)
        assert (row.subject, row.role, row.created_at) == (alice, Role.DEPLOYER, START)
        await shut(store)
        reopened = await open_store()
        assert await reopened.tokens.find(secret) == Actor(alice, Role.DEPLOYER)
        await shut(reopened)

    async def test_of_those_who_ask_at_once_one_gets_the_first_token(
        self, store: Store, clock: HandClock
    ) -> None:
        alice = await store.directory.ensure("user", "alice")
        asking = (store.tokens.create_first(alice, Role.ADMIN) for _ in range(8))
        secrets = [secret for secret in await asyncio.gather(*asking) if secret]
        assert len(secrets) == 1
        assert await store.tokens.find(secrets[0]) == Actor(alice, Role.ADMIN)
        (row,) = await store.tokens.list()
        assert (row.subject, row.role, row.expires_at) == (alice, Role.ADMIN, None)
        assert row.created_at == clock.at
        await store.tokens.revoke(row.id)
        assert await store.tokens.create_first(alice, Role.ADMIN)

    async def test_the_first_token_is_for_somebody_known(self, store: Store) -> None:
        with pytest.raises(NotFoundError):
            await store.tokens.create_first("sub_unknown", Role.ADMIN)
        assert await store.tokens.list() == []

    async def test_what_is_no_token_is_not_found(self, store: Store) -> None:
        alice = await store.directory.ensure("user", "alice")
        secret, _ = await store.tokens.create(alice, Role.ADMIN, None)
        for wrong in ("", "slp_", secret[:-1], secret + "0", secret.upper(), new_token()):
            assert await store.tokens.find(wrong) is None

    async def test_a_token_expires(self, store: Store, clock: HandClock) -> None:
        alice = await store.directory.ensure("user", "alice")
        secret, _ = await store.tokens.create(alice, Role.VIEWER, START + timedelta(days=1))
        clock.move(86_399)
        assert await store.tokens.find(secret)
        clock.move(1)
        assert await store.tokens.find(secret) is None

    async def test_a_revoked_token_is_none(self, store: Store) -> None:
        alice = await store.directory.ensure("user", "alice")
        secret, row = await store.tokens.create(alice, Role.VIEWER, None)
        assert await store.tokens.revoke(row.id)
        assert await store.tokens.find(secret) is None
        assert await store.tokens.list() == []
        assert not await store.tokens.revoke(row.id)
        assert not await store.tokens.revoke("tok_unknown")

    async def test_the_use_of_a_token_is_noted_once_a_minute(
        self, store: Store, clock: HandClock
    ) -> None:
        alice = await store.directory.ensure("user", "alice")
        secret, _ = await store.tokens.create(alice, Role.VIEWER, None)
        noted: list[float] = []
        for wait in (5, 30, 29, 1):
            clock.move(wait)
            await store.tokens.find(secret)
            await store.blobs.put(str(wait).encode())  # queued behind the note
            (row,) = await store.tokens.list()
            assert row.last_used_at is not None
            noted.append((row.last_used_at - START).total_seconds())
        assert noted == [5, 5, 5, 65]

    def test_a_token_has_the_form_that_scanners_know(self) -> None:
        tokens = {new_token() for _ in range(100)}
        assert len(tokens) == 100
        for token in tokens:
            assert len(token) == 40
            assert is_token(token)
            assert not is_token(token[:-1] + ("0" if token[-1] != "0" else "1"))
            assert not is_token(token.replace("slp_", "ghp_"))

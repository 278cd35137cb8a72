"""The contract of the ports `WorkQueue` and `Blobs`."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import pytest

from shipslog.domain.append import Append, Due, Lease
from shipslog.domain.errors import FenceLostError

from .contract import Contract, OpenStore, Store, shut
from .making import START, HandClock, appending, command, draft

LATER = START + timedelta(hours=1)

LoseLeases = Callable[[Store], Awaitable[Store]]
"""Lets every owner be gone, as far as the store can tell, and returns the store that knows."""


def due(
    stream: str, version: int = 1, *, at: datetime | None = START, lease: Lease | None = None
) -> Append:
    return appending(draft(stream, version), due=(Due(stream, at),), lease=lease)


class WorkContract(Contract):
    async def test_what_is_due_is_claimed_once_the_oldest_first(
        self, store: Store, clock: HandClock
    ) -> None:
        for n in range(3):
            await store.log.append(due(f"d{n}", at=START + timedelta(seconds=3 - n)))
        await store.log.append(due("not yet", at=LATER))
        clock.move(10)
        first, second = await asyncio.gather(
            store.work.claim("me", 2), store.work.claim("another", 2)
        )
        assert [lease.stream for lease in first] == ["d2", "d1"]
        assert [lease.stream for lease in second] == ["d0"]
        assert await store.work.claim("me", 10) == ()

    async def test_the_owner_may_append_until_it_is_final(self, store: Store) -> None:
        await store.log.append(due("d"))
        (lease,) = await store.work.claim("me", 10)
        await store.log.append(due("d", 2, at=LATER, lease=lease))
        await store.log.append(due("d", 3, at=None, lease=lease))
        with pytest.raises(FenceLostError, match="lease on d is lost"):
            await store.log.append(due("d", 4, lease=lease))
        assert await store.log.head() == 3

    async def test_within_one_group_the_end_of_a_lease_counts(self, store: Store) -> None:
        await store.log.append(due("d"))
        (lease,) = await store.work.claim("me", 10)
        outcomes = await asyncio.gather(
            store.log.append(due("d", 2, at=None, lease=lease)),
            store.log.append(due("d", 3, lease=lease)),
            return_exceptions=True,
        )
        assert isinstance(outcomes[1], FenceLostError)

    @pytest.mark.parametrize("change", ["token", "owner", "stream"])
    async def test_nobody_else_may_append_as_owner(self, store: Store, change: str) -> None:
        await store.log.append(due("d"))
        (lease,) = await store.work.claim("me", 10)
        claims = {
            "token": Lease("d", lease.token + 1, "me"),
            "owner": Lease("d", lease.token, "another"),
            "stream": Lease("e", lease.token, "me"),
        }
        with pytest.raises(FenceLostError):
            await store.log.append(due("d", 2, lease=claims[change]))

    async def test_a_known_command_is_answered_also_to_an_old_owner(
        self, store: Store, lose_leases: LoseLeases
    ) -> None:
        await store.log.append(due("d"))
        (lease,) = await store.work.claim("me", 10)
        append = due("d", 2, lease=lease)
        await store.log.append(append)
        after = await lose_leases(store)
        assert (await after.log.append(append)).known
        with pytest.raises(FenceLostError):
            await after.log.append(due("d", 3, lease=lease))
        if after is not store:
            await shut(after)

    async def test_a_lost_lease_is_taken_over_at_once_under_a_higher_token(
        self, store: Store, lose_leases: LoseLeases
    ) -> None:
        await store.log.append(due("owned"))
        (old,) = await store.work.claim("me", 10)
        await store.log.append(due("owned", 2, at=LATER, lease=old))
        await store.log.append(due("waiting", at=LATER))
        after = await lose_leases(store)
        (new,) = await after.work.claim("me", 10)
        assert new.stream == "owned"
        assert new.token > old.token
        assert await after.work.renew([old, new]) == (new,)
        with pytest.raises(FenceLostError):
            await after.log.append(due("owned", 3, lease=old))
        await after.log.append(due("owned", 3, lease=new))
        if after is not store:
            await shut(after)

    async def test_a_lease_that_is_held_is_renewed(self, store: Store) -> None:
        for n in range(3):
            await store.log.append(due(f"d{n}"))
        mine = await store.work.claim("me", 2)
        (theirs,) = await store.work.claim("another", 1)
        await store.work.release(mine[0], None)
        stolen = Lease(theirs.stream, theirs.token, "me")
        assert await store.work.renew([*mine, stolen, theirs]) == (mine[1], theirs)
        assert await store.work.renew([]) == ()

    async def test_what_is_given_back_is_due_again(self, store: Store, clock: HandClock) -> None:
        await store.log.append(due("d"))
        (lease,) = await store.work.claim("me", 10)
        await store.work.release(lease, Due("d", LATER))
        assert await store.work.claim("me", 10) == ()
        clock.move(3600)
        (again,) = await store.work.claim("another", 10)
        await store.work.release(again, None)
        assert len(await store.work.claim("me", 10)) == 1

    async def test_what_is_given_back_with_no_instant_is_due_at_once(self, store: Store) -> None:
        await store.log.append(due("d"))
        (lease,) = await store.work.claim("me", 10)
        await store.log.append(due("d", 2, at=LATER, lease=lease))
        await store.work.release(lease, None)
        assert [lease.stream for lease in await store.work.claim("another", 10)] == ["d"]

    async def test_what_was_asked_for_meanwhile_is_not_put_off(self, store: Store) -> None:
        await store.log.append(due("d"))
        (lease,) = await store.work.claim("me", 10)
        aborted = appending(draft("d", 2), due=(Due("d", START),))
        await store.log.append(aborted)
        await store.log.append(due("d", 3, at=LATER, lease=lease))
        await store.work.release(lease, Due("d", LATER))
        assert [lease.stream for lease in await store.work.claim("me", 10)] == ["d"]

    async def test_of_two_instants_the_earlier_counts(self, store: Store, clock: HandClock) -> None:
        await store.log.append(due("d", at=LATER))
        await store.log.append(due("d", 2, at=START))
        await store.log.append(due("d", 3, at=LATER))
        assert [lease.stream for lease in await store.work.claim("me", 10)] == ["d"]
        await store.log.append(due("e", at=LATER))
        assert await store.work.claim("me", 10) == ()
        clock.move(3600)
        assert [lease.stream for lease in await store.work.claim("me", 10)] == ["e"]

    async def test_of_many_leases_in_a_group_each_counts_for_itself(self, store: Store) -> None:
        for n in range(4):
            await store.log.append(due(f"d{n}", at=START + timedelta(seconds=-n)))
        leases = {lease.stream: lease for lease in await store.work.claim("me", 3)}
        old = Lease("d1", leases["d1"].token - 1, "me")
        outcomes = await asyncio.gather(
            store.log.append(due("d3", 2, lease=leases["d3"])),
            store.log.append(due("d1", 2, lease=old)),
            store.log.append(due("d2", 2, lease=leases["d2"])),
            store.log.append(due("d0", 2)),
            store.log.append(due("d1", 2, lease=leases["d1"], at=None)),
            return_exceptions=True,
        )
        assert isinstance(outcomes[1], FenceLostError)
        assert not any(isinstance(outcomes[n], BaseException) for n in (0, 2, 3, 4))

    async def test_what_is_over_is_forgotten(self, store: Store) -> None:
        await store.log.append(due("d"))
        (lease,) = await store.work.claim("me", 10)
        await store.work.release(lease, Due("d", None))
        assert await store.work.claim("me", 10) == ()

    async def test_an_old_lease_gives_nothing_back(self, store: Store) -> None:
        await store.log.append(due("d"))
        (lease,) = await store.work.claim("me", 10)
        await store.work.release(Lease("d", lease.token, "another"), None)
        assert await store.work.claim("another", 10) == ()

    async def test_a_target_is_held_by_one_and_claimed_by_nobody(self, store: Store) -> None:
        lease = await store.work.hold("me", "target:staging/web")
        assert lease is not None
        assert await store.work.hold("another", "target:staging/web") is None
        assert await store.work.hold("me", "target:staging/web") is None
        assert await store.work.hold("another", "target:staging/api") is not None
        assert await store.work.claim("another", 10) == ()
        await store.work.release(lease, Due("target:staging/web", None))
        assert await store.work.hold("another", "target:staging/web") is not None

    async def test_who_holds_a_target_appends_to_it_and_no_one_before(
        self, store: Store, lose_leases: LoseLeases
    ) -> None:
        stream = "target:staging/web"
        old = await store.work.hold("me", stream)
        assert old is not None
        await store.log.append(appending(draft(stream, 1), lease=old))
        after = await lose_leases(store)
        assert await after.work.claim("me", 10) == ()
        new = await after.work.hold("another", stream)
        assert new is not None
        assert new.token > old.token
        assert await after.work.renew([old, new]) == (new,)
        with pytest.raises(FenceLostError):
            await after.log.append(appending(draft(stream, 2), lease=old))
        await after.log.append(appending(draft(stream, 2), lease=new))
        if after is not store:
            await shut(after)

    async def test_tokens_of_targets_and_of_deployments_are_in_one_order(
        self, store: Store
    ) -> None:
        tokens: list[int] = []
        for n in range(3):
            await store.log.append(due(f"d{n}"))
            (lease,) = await store.work.claim("me", 1)
            held = await store.work.hold("me", f"target:staging/{n}")
            assert held is not None
            tokens += (lease.token, held.token)
        assert tokens == sorted(tokens)

    async def test_a_refused_append_changes_no_work(self, store: Store) -> None:
        wrong = appending(draft("d", 7), due=(Due("d", START),))
        with pytest.raises(Exception, match="moved on"):
            await store.log.append(wrong)
        assert await store.work.claim("me", 10) == ()

    async def test_a_blob_is_kept_by_its_digest(self, store: Store) -> None:
        content = b"\x00\xff" * 500_000
        digest = await store.blobs.put(content)
        again = await asyncio.gather(*(store.blobs.put(content) for _ in range(3)))
        assert {digest, *again} == {digest}
        assert digest.startswith("sha256:")
        assert await store.blobs.get(digest) == content
        assert await store.blobs.get("sha256:00") is None

    async def test_who_is_cancelled_takes_no_other_blob_along(self, store: Store) -> None:
        contents = [str(n).encode() for n in range(9)]
        puts = [asyncio.create_task(store.blobs.put(content)) for content in contents]
        await asyncio.sleep(0)
        puts[0].cancel()  # unless it is stored already
        digests = await asyncio.gather(*puts[1:])
        assert [await store.blobs.get(digest) for digest in digests] == contents[1:]
        await asyncio.wait(puts)

    async def test_a_blob_outlasts_the_store(self, store: Store, open_store: OpenStore) -> None:
        digest = await store.blobs.put(b"")
        await shut(store)
        reopened = await open_store()
        assert await reopened.blobs.get(digest) == b""
        await shut(reopened)

    async def test_commands_of_the_log_and_of_work_do_not_meet(self, store: Store) -> None:
        asked = command("deploy")
        append = appending(draft("d", 1, command=asked), due=(Due("d", START),))
        outcomes = await asyncio.gather(
            store.log.append(append), store.work.claim("me", 10), store.blobs.put(b"x")
        )
        assert outcomes[0].last == 1

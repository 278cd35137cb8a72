"""Appends that the database takes back: sent again a few times, then answered that it is busy."""

import asyncio
import random

import psycopg
import pytest

from shipslog.adapters.store.postgres.store import PostgresStore, Terms
from shipslog.adapters.store.postgres.writer import FIRST_PAUSE_SECONDS, YIELDS, Release
from shipslog.domain.append import Append, Due
from shipslog.domain.errors import BusyError
from tests.databases import carry_out

from ...making import START, appending, draft, one

# A sequence counts also what is taken back.
GIVE_WAY = """
CREATE SEQUENCE tries;
CREATE FUNCTION give_way() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF nextval('shipslog.tries') <= {} THEN
        RAISE 'deadlock detected' USING ERRCODE = 'deadlock_detected';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER give_way BEFORE INSERT ON work FOR EACH ROW
WHEN (NEW.stream = 'contended') EXECUTE FUNCTION give_way()
"""


def contended(stream: str) -> Append:
    return appending(draft(stream, 1), due=(Due("contended", START),))


def tries(url: str) -> int:
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT last_value FROM shipslog.tries").fetchone()
    assert found is not None
    return int(found[0])


async def test_what_gives_way_is_sent_again_three_times_and_takes_nobody_with_it(
    database: str,
) -> None:
    # F12
    carry_out(database, GIVE_WAY.format(1_000))
    store = await PostgresStore.open(database, terms=Terms(Release.AFTER_FLUSH))
    appends = [one("a", 1), contended("b"), one("c", 1), one("d", 1)]
    answers = await asyncio.gather(*map(store.log.append, appends), return_exceptions=True)
    assert isinstance(answers[1], BusyError)
    assert [isinstance(answer, BaseException) for answer in answers] == [False, True, False, False]
    assert tries(database) == 1 + YIELDS
    assert await store.log.head() == 3
    assert not await store.log.stream("b")
    carry_out(database, "DROP TRIGGER give_way ON work")
    assert (await store.log.append(appends[1])).last == 4
    assert list(store.log.verify()) == []
    await store.close()


@pytest.mark.parametrize("times", [1, YIELDS])
async def test_what_gives_way_now_and_then_is_stored_once(database: str, times: int) -> None:
    carry_out(database, GIVE_WAY.format(times))
    store = await PostgresStore.open(database, terms=Terms(Release.EARLY))
    first, other = await asyncio.gather(
        store.log.append(contended("a")), store.log.append(one("b", 1))
    )
    assert {first.last, other.last} == {1, 2}
    assert tries(database) == times + 1
    assert await store.log.head() == 2
    assert (await store.log.append(contended("a"))).known
    await store.close()


async def test_the_pauses_are_drawn_from_ever_longer_ones(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = list[tuple[float, float]]()

    def draw(least: float, most: float) -> float:
        drawn.append((least, most))
        return least

    carry_out(database, GIVE_WAY.format(1_000))
    store = await PostgresStore.open(database, terms=Terms(Release.AFTER_FLUSH))
    monkeypatch.setattr(random, "uniform", draw)
    with pytest.raises(BusyError):
        await store.log.append(contended("a"))
    first = FIRST_PAUSE_SECONDS
    assert drawn == [(0, first), (0, 2 * first), (0, 4 * first)]
    await store.close()


async def test_a_store_that_is_closed_answers_what_was_waiting_to_be_sent_again(
    database: str,
) -> None:
    carry_out(database, GIVE_WAY.format(1))
    store = await PostgresStore.open(database, terms=Terms(Release.AFTER_FLUSH))
    waiting = asyncio.create_task(store.log.append(contended("a")))
    await asyncio.sleep(0)
    await store.close()
    assert (await waiting).last == 1

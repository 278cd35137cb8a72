"""The machine's clock, which an administrator sets while we run."""

import pytest

from shipslog.adapters import clock
from shipslog.adapters.clock import SLEW, SystemClock

HOUR = 3600.0


class Hands:
    """The two clocks of a machine: one that goes on, and one that is set."""

    def __init__(self) -> None:
        self.boot, self.ahead = 1000.0, 1.9e9

    def wall(self) -> float:
        return self.boot + self.ahead

    def since_boot(self) -> float:
        return self.boot


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Hands:
    hands = Hands()
    monkeypatch.setattr(clock, "wall", hands.wall)
    monkeypatch.setattr(clock, "since_boot", hands.since_boot)
    return hands


def told(ours: SystemClock) -> float:
    return ours.now().timestamp()


def test_it_says_what_the_wall_clock_says(hands: Hands) -> None:
    ours = SystemClock()
    for _ in range(1000):
        hands.boot += 0.37
        assert told(ours) == pytest.approx(hands.wall(), abs=1e-5)


@pytest.mark.parametrize("step", [HOUR, -HOUR, 10 * 365 * 24 * HOUR])
def test_a_wall_clock_that_is_set_is_come_to_slowly(hands: Hands, step: float) -> None:
    ours = SystemClock()
    before = told(ours)
    hands.ahead += step
    assert told(ours) == pytest.approx(before, abs=1e-5)
    hands.boot += 100
    passed = told(ours) - before
    assert passed == pytest.approx(100 + (5 if step > 0 else -5), abs=1e-3)


def test_in_the_end_it_is_right_again(hands: Hands) -> None:
    ours = SystemClock()
    hands.ahead -= HOUR
    last = told(ours)
    for _ in range(100):
        hands.boot += HOUR / SLEW / 100
        assert told(ours) > last
        last = told(ours)
    assert last == pytest.approx(hands.wall(), abs=1e-3)


def test_steps_to_and_fro_leave_no_trace(hands: Hands) -> None:
    ours = SystemClock()
    begun = told(ours)
    for turn in range(100):
        hands.ahead += HOUR if turn % 2 else -HOUR
        hands.boot += 1
        told(ours)
    assert told(ours) - begun == pytest.approx(100, abs=100 * SLEW)

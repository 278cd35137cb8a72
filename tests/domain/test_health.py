"""Health: many results become one word."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipslog.domain.health import Health, Require, sum_up


@pytest.mark.parametrize(
    ("passed", "health"),
    [
        ([], Health.UNHEALTHY),
        ([True], Health.HEALTHY),
        ([False], Health.UNHEALTHY),
        ([True, False], Health.UNHEALTHY),
        ([True, True, False], Health.DEGRADED),
        ([True, False, False], Health.UNHEALTHY),
        ([True] * 51 + [False] * 50, Health.DEGRADED),
    ],
)
def test_fewer_than_half_failed_is_degraded(passed: list[bool], health: Health) -> None:
    assert sum_up(passed) is health


@given(st.lists(st.booleans(), min_size=1))
def test_health_is_a_matter_of_counting(passed: list[bool]) -> None:
    assert sum_up(passed) is sum_up(sorted(passed))
    assert (sum_up(passed) is Health.HEALTHY) == all(passed)
    assert (sum_up(passed) is Health.UNHEALTHY) == (2 * passed.count(False) >= len(passed))


@pytest.mark.parametrize(
    ("health", "passes"),
    [
        (Health.HEALTHY, (True, True)),
        (Health.DEGRADED, (False, True)),
        (Health.UNHEALTHY, (False, False)),
    ],
)
def test_degraded_passes_unless_healthy_is_required(
    health: Health, passes: tuple[bool, bool]
) -> None:
    required = (Require.HEALTHY, Require.DEGRADED)
    assert tuple(health.satisfies(require) for require in required) == passes

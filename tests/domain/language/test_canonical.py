"""Canonical JSON: the quick way and the library spell everything alike, and refuse alike."""

from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from shipslog.domain.language import canonical

NUMBERS = st.one_of(
    st.integers(-(2**54), 2**54), st.floats(), st.integers(-100, 100).map(float), st.just(-0.0)
)
SCALARS = st.one_of(
    st.none(), st.booleans(), NUMBERS, st.text(), st.text(alphabet='"\\\x00\x1f\x7f/')
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=5), inner, max_size=4),
    ),
    max_leaves=12,
)


@given(VALUES)
def test_it_is_the_spelling_of_rfc_8785(value: Any) -> None:  # noqa: ANN401 - all there is
    assert outcome(canonical.dumps, value) == outcome(rfc8785.dumps, value)


@pytest.mark.parametrize("value", ["\ud800", {"\ud800": 1}, 2**53, float("nan"), {1: 2}, b"x"])
def test_what_json_cannot_say_is_refused_alike(value: object) -> None:
    assert outcome(canonical.dumps, value) == outcome(rfc8785.dumps, value)


def outcome(dumps: Any, value: object) -> bytes | type[Exception]:  # noqa: ANN401 - either
    try:
        spelled: bytes = dumps(value)
    except Exception as error:  # noqa: BLE001 - that is what is compared
        return type(error)
    return spelled

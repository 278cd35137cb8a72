"""What these tests share: two builds, each learnt once."""

from collections.abc import Iterator

import pytest

from .builds import newer_build
from .family import Nursery


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Give the build that is tested."""
    with Nursery() as nursery:
        yield nursery


@pytest.fixture(scope="session")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """Give one that comes after it."""
    with Nursery(newer_build(tmp_path_factory.mktemp("newer"))) as nursery:
        yield nursery

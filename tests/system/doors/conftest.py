"""An installation that the tests of the doors share."""

from collections.abc import Iterator

import pytest

from ..installation import Installation


@pytest.fixture(scope="session")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    here = Installation(tmp_path_factory.mktemp("doors"))
    try:
        here.start()
        yield here
    finally:
        here.end()

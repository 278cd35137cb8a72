"""What system tests share: an installation that is ended also when the test fails."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .installation import Installation


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    here = Installation(tmp_path)
    try:
        here.start()
        yield here
    finally:
        here.end()

"""Benchmarks; one that is told to end still stops the servers that it has started."""

import signal
import sys
from types import FrameType


def _end(_number: int, _frame: FrameType | None) -> None:
    sys.exit(1)


if sys.argv[0] == "-m":  # run as a program, and not imported by a test
    signal.signal(signal.SIGTERM, _end)

"""The command line on a machine whose wall clock is set while it runs.

`skewed.py FILE VERB…`: FILE says how many seconds that clock is ahead.
"""

import sys
import time
from pathlib import Path

from shipslog.adapters import clock
from shipslog.api.cli import run

if __name__ == "__main__":
    file = Path(sys.argv[1])
    clock.wall = lambda: time.time() + float(file.read_text())
    sys.exit(run(sys.argv[2:]))

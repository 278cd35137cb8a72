"""Making a ledger: killed at each statement, the process leaves nothing or a whole ledger. F38."""

import subprocess
import sys
from pathlib import Path

from shipslog.adapters.store.sqlite.store import SqliteStore

PROGRAM = """
import os, signal, sqlite3, sys
from itertools import count
from pathlib import Path
from shipslog.adapters.store.sqlite.store import SqliteStore

data, connect = Path(sys.argv[1]), sqlite3.connect

def open_and_die(moment):
    said = count(1)

    def saying(statement):
        if next(said) == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    def traced(*arguments, **named):
        connection = connect(*arguments, **named)
        connection.set_trace_callback(saying)
        return connection

    sqlite3.connect = traced
    SqliteStore.open(data).close()
    os._exit(0)

def tables():
    with connect(data / "ledger.db") as db:
        return db.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()[0]

found = set()
for moment in count(1):
    child = os.fork()
    if not child:
        open_and_die(moment)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    found.add(tables())
    if code == 0:
        break
    assert code == -signal.SIGKILL, code
print(moment - 1, *sorted(found))
"""


def test_killed_at_each_statement_the_next_one_makes_it(tmp_path: Path) -> None:
    program = [sys.executable, "-P", "-c", PROGRAM, str(tmp_path)]
    done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    killed, *tables = map(int, done.stdout.split())
    assert killed > 20
    # None at all, or all of them: never some.
    assert tables[0] == 0
    assert len(tables) == 2
    store = SqliteStore.open(tmp_path)
    try:
        assert list(store.log.verify()) == []
    finally:
        store.close()

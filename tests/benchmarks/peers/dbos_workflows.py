# mypy: disable-error-code="import-not-found,untyped-decorator"
# pyright: basic, reportMissingImports=false
"""DBOS runs workflows of five steps that do nothing; started with the peers' own interpreter.

Arguments: a database's URL, how many workflows, how many at once. Prints workflows a second.
"""

import logging
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from dbos import DBOS, DBOSConfig

STAGES = 5
WARM = 4


@DBOS.step()
def stage(number: int) -> int:
    return number


@DBOS.workflow()
def deployment(version: int) -> int:
    for number in range(STAGES):
        stage(number)
    return version


def main(url: str, number: int, at_once: int) -> None:
    config: DBOSConfig = {
        "name": "benchmark",
        "system_database_url": url.replace("postgresql://", "postgresql+psycopg://"),
        "sys_db_pool_size": 64,
        "run_admin_server": False,
        "log_level": "ERROR",
    }
    DBOS(config=config)
    logging.disable(logging.WARNING)
    DBOS.launch()
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(deployment, range(WARM)))
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        began = time.perf_counter()
        list(pool.map(deployment, range(number)))
        taken = time.perf_counter() - began
    sys.stdout.write(f"{number / taken}\n")
    sys.stdout.flush()
    DBOS.destroy()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

# mypy: disable-error-code="import-not-found,untyped-decorator"
# pyright: basic, reportMissingImports=false
"""Procrastinate runs chains of five jobs that do nothing; started with the peers' interpreter.

Arguments: a database's URL, how many chains, how many jobs at once. Prints chains a second.
"""

import asyncio
import sys
import time
from itertools import count

import procrastinate

STAGES = 5


def application(url: str) -> procrastinate.App:
    return procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url))


async def main(url: str, number: int, at_once: int) -> None:
    app = application(url)
    ended = count(1)
    all_ended = asyncio.Event()

    @app.task(name="stage")
    async def stage(left: int) -> None:
        if left:
            await stage.defer_async(left=left - 1)
        elif next(ended) == number:
            all_ended.set()

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        worker = asyncio.create_task(
            app.run_worker_async(concurrency=at_once, install_signal_handlers=False)
        )
        began = time.perf_counter()
        for _ in range(number):
            await stage.defer_async(left=STAGES - 1)
        await all_ended.wait()
        taken = time.perf_counter() - began
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
    sys.stdout.write(f"{number / taken}\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))

# mypy: disable-error-code="import-not-found,untyped-decorator"
# pyright: basic, reportMissingImports=false
"""UmaDB takes events; started with the peers' own interpreter, its server beside it.

Arguments: how many events, and how many of them in one append. Prints events a second.
"""

import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import umadb

BODY = b"x" * 600
PORT = 50_951
WAIT_SECONDS = 20


def connected(address: str) -> umadb.Client:
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            client = umadb.Client(f"http://{address}")
            client.head()
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return client


def main(number: int, batch: int) -> None:
    address = f"127.0.0.1:{PORT}"
    program = Path(sys.executable).with_name("umadb")
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(
            [program, "--listen", address, "--db-path", folder], stdout=subprocess.DEVNULL
        )
        try:
            client = connected(address)
            tags = [f"deployment:{uuid.uuid4()}"]
            began = time.perf_counter()
            for _ in range(number // batch):
                events = [umadb.Event("stage_finished", BODY, tags=tags) for _ in range(batch)]
                client.append(events)
            taken = time.perf_counter() - began
        finally:
            server.kill()
            server.wait()
    sys.stdout.write(f"{number // batch * batch / taken}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))

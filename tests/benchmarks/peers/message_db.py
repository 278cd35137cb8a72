"""message-db takes events: its own SQL, from the package that it publishes on the npm registry.

It is fetched once and kept beside the peers' environment. What has not the hash that stands here
is not used; where it cannot be had, message-db is left out, and that is said.
"""

import http.client
import io
import os
import sys
import tarfile
import uuid
from functools import cache
from hashlib import sha512

import psycopg

from ..append.appenders import StageFinished, until
from .running import PYTHON

HOST = "registry.npmjs.org"
PATH = "/@eventide/message-db/-/message-db-1.3.1.tgz"
SHA512 = (
    "9f785d13960064d5d3af61caf601b4189e9dbac81d139e382d3bd2fb6d7fc8e1"
    "0706f36e5333665d7c39bd2d39be97ba452ba1cd3472e56834abb73555f260f8"
)
KEPT = PYTHON.parents[1] / "message-db.tgz"
WAIT_SECONDS = 20
FILES = (
    "schema/message-store.sql",
    "tables/messages.sql",
    "functions/category.sql",
    "functions/hash-64.sql",
    "functions/acquire-lock.sql",
    "functions/stream-version.sql",
    "functions/write-message.sql",
    "indexes/messages-id.sql",
    "indexes/messages-stream.sql",
    "indexes/messages-category.sql",
)
"""In the order in which they are carried out."""
WRITE = "SELECT write_message(%s, %s, %s, %s::jsonb, %s::jsonb, %s)"
DATA = (
    '{"stage": "deploy.switch", "attempt": 1, "outcome": "succeeded",'
    ' "message": "all of 4 instances answered within 12 ms"}'
)


@cache
def has() -> bool:
    """Say whether its SQL is there or can be had; if not, print so."""
    if os.environ.get("BENCH_PEERS") == "no":
        return False
    try:
        package()
    except (OSError, http.client.HTTPException, ValueError) as error:
        sys.stdout.write(f"message-db is not measured: its SQL could not be had ({error})\n")
        return False
    return True


@cache
def package() -> bytes:
    """Return its package, fetched where it is not kept yet.

    Errors: OSError and HTTPException without a network, ValueError where it is another one.
    """
    found = KEPT.read_bytes() if KEPT.exists() else fetched()
    if sha512(found).hexdigest() != SHA512:
        message = f"{PATH} has another hash"
        raise ValueError(message)
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    KEPT.write_bytes(found)
    return found


def fetched() -> bytes:
    """Return the package as the registry has it. Errors: OSError, HTTPException."""
    connection = http.client.HTTPSConnection(HOST, timeout=WAIT_SECONDS)
    try:
        connection.request("GET", PATH)
        response = connection.getresponse()
        if response.status != http.client.OK:
            message = f"{HOST} answers {response.status}"
            raise OSError(message)
        return response.read()
    finally:
        connection.close()


def install(url: str) -> None:
    """Make its tables and functions in a database."""
    with (
        psycopg.connect(url, options="-c search_path=message_store,public") as connection,
        tarfile.open(fileobj=io.BytesIO(package())) as files,
    ):
        for path in FILES:
            file = files.extractfile(f"package/database/{path}")
            assert file is not None
            connection.execute(file.read())


def process(url: str, seconds: float) -> int:
    """Write to one stream, each message in a transaction and with its version; say how many."""
    stream, done = f"deployment-{uuid.uuid4()}", 0
    options = "-c search_path=message_store,public"
    with psycopg.connect(url, options=options, autocommit=True, prepare_threshold=0) as connection:
        goes_on = until(seconds)
        while goes_on():
            values = (str(uuid.uuid4()), stream, StageFinished.TOPIC, DATA, None, done - 1)
            connection.execute(WRITE, values)
            done += 1
    return done


if __name__ == "__main__":
    sys.stdout.write(f"{process(sys.argv[1], float(sys.argv[2]))}\n")

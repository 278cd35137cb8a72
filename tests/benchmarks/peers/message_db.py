"""message-db takes events: its own SQL, which is on no index, from its repository at one commit.

It is fetched once and kept beside the peers' environment. What has not the hash that stands here
is not used; where it cannot be had, message-db is left out, and that is said.
"""

import http.client
import os
import sys
import uuid
from functools import cache
from hashlib import sha256

import psycopg

from ..append.appenders import StageFinished, until
from .running import PYTHON

HOST = "raw.githubusercontent.com"
COMMIT = "e6999a6bd95ace6e8d70ec62a00c66b27ce8bf3b"
"""Of v1.3.0."""
KEPT = PYTHON.parents[1] / "message-db"
WAIT_SECONDS = 20
HASHES = """\
85271e039fc0df8e11e4298af0727bde257ce33f3334df3feecae53d6fc6ebcd  schema/message-store.sql
35ed39515f75a98f85aeb8100ef01be63f42672284f277187aaa87756e204789  tables/messages.sql
04add95eb30a248d8c944e8ca617ab13dff214f2170222a29886513c276fc459  functions/category.sql
24c3407535d9d75a12c8a7e97de6755134b5ebc4eb29acd772e5577db7a51a43  functions/hash-64.sql
111a16356bab03a2c81afa93260c947c217ee2eb30deeb9745f904dab0868e83  functions/acquire-lock.sql
16b9ab90738947f263218002703d00b095406f03296f6b4c8458abf840a0b202  functions/stream-version.sql
94f9e86cf1d6e63ea795aa47e0c93f576296a97316dd277073d9ed887b24d95a  functions/write-message.sql
8330f1d8a47a7da46eacc6971fe83dd272778d562ee5be1abae7bcf717ea87f5  indexes/messages-id.sql
4c0575479e45e1045bf113ae4dc672b07d2389288a788f821141de13e04db134  indexes/messages-stream.sql
36d05b40be7051936bad0b672d0162c7539ce3041e7a08af26f1f403f540016e  indexes/messages-category.sql
"""
"""As `sha256sum` writes them, in the order in which they are carried out."""
FILES = {path: digest for digest, path in map(str.split, HASHES.splitlines())}
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
        for path in FILES:
            sql(path)
    except (OSError, http.client.HTTPException, ValueError) as error:
        sys.stdout.write(f"message-db is not measured: its SQL could not be had ({error})\n")
        return False
    return True


def sql(path: str) -> bytes:
    """Return a file of its SQL, fetched where it is not kept yet.

    Errors: OSError and HTTPException without a network, ValueError where it is another file.
    """
    kept = KEPT / path
    found = kept.read_bytes() if kept.exists() else fetched(path)
    if sha256(found).hexdigest() != FILES[path]:
        message = f"{path} has another hash"
        raise ValueError(message)
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(found)
    return found


def fetched(path: str) -> bytes:
    """Return a file as the repository has it at the commit. Errors: OSError, HTTPException."""
    connection = http.client.HTTPSConnection(HOST, timeout=WAIT_SECONDS)
    try:
        connection.request("GET", f"/message-db/message-db/{COMMIT}/database/{path}")
        response = connection.getresponse()
        if response.status != http.client.OK:
            message = f"{HOST} answers {response.status}"
            raise OSError(message)
        return response.read()
    finally:
        connection.close()


def install(url: str) -> None:
    """Make its tables and functions in a database."""
    with psycopg.connect(url, options="-c search_path=message_store,public") as connection:
        for path in FILES:
            connection.execute(sql(path))


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

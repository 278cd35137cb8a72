"""The examples say what they mean, and the load client notices what it is there to notice."""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import pytest

from shipslog.adapters.documents.files import read_files

from .installation import ROOT, free_address

WEB = ROOT / "examples/web"


def test_the_pipeline_in_python_is_the_one_in_yaml() -> None:
    in_yaml = read_files([WEB / "shipslog.yaml"])
    in_python = read_files([WEB / "pipeline.py"])
    assert [d.checked().document() for d in in_yaml if d.fields["kind"] == "Pipeline"] == [
        d.checked().document() for d in in_python
    ]


@pytest.mark.parametrize("file", [WEB / "shipslog.yaml", ROOT / "examples/datasette/shipslog.yaml"])
def test_each_example_defines_an_environment_and_a_pipeline(file: Path) -> None:
    kinds = [document.checked().document()["kind"] for document in read_files([file])]
    assert kinds == ["Environment", "Pipeline"]


@pytest.mark.parametrize(("version", "health"), [("1.0.0", 200), ("3.1.0", 503), ("4.0.0", 200)])
def test_a_version_says_its_name_and_its_health(version: str, health: int) -> None:
    with service(version) as address, closing(HTTPConnection(address, timeout=5)) as connection:
        assert got(connection, "/healthz").status == health
        answer = got(connection, "/")
        assert (answer.status, answer.headers["X-Version"]) == (200, version)


def test_version_4_fails_its_checks_only_after_a_user_came_and_goes_on_answering() -> None:
    with service("4.0.0") as address, closing(HTTPConnection(address, timeout=5)) as connection:
        came_at = time.monotonic()
        assert got(connection, "/").status == 200
        while got(connection, "/healthz").status == 200:
            assert time.monotonic() - came_at < 10
        assert time.monotonic() - came_at >= 1
        assert got(connection, "/").status == 200


def test_the_load_client_counts_every_kind_of_request_and_who_answered() -> None:
    with service("1.2.3") as address:
        report = load(address, "--rate", "100", "--seconds", "2")
    assert (report["requests"], report["failed"], report["failures"]) == (200, 0, [])
    assert report["versions"]["1.2.3"]["count"] == 200
    assert set(report["kinds"]) == {
        "keep-alive",
        "new connection",
        "slow body up",
        "slow body down",
    }
    assert report["cpu_seconds"] < 2


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "status 502"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", "ClientPayloadError"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", "TransferEncoding"),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{"received": 10}', "status 200"),
        (b"", "ServerDisconnectedError"),
    ],
)
def test_the_load_client_notices_a_bad_answer(answer: bytes, complaint: str) -> None:
    with answering(answer) as address:
        report = load(address, "--rate", "50", "--seconds", "0.2")
    uploads = report["kinds"]["keep-alive"]
    assert report["failed"] >= uploads > 0
    assert complaint in " ".join(report["failures"])


def test_the_load_client_notices_that_nobody_is_there() -> None:
    report = load(free_address(), "--rate", "50", "--seconds", "0.2")
    assert report["failed"] == report["requests"] == 10
    assert "ClientConnectorError" in report["failures"][0]


def load(address: str, *options: str) -> dict[str, Any]:
    command = [sys.executable, "examples/load.py", "--url", f"http://{address}", *options]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=60)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def got(connection: HTTPConnection, path: str) -> HTTPResponse:
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    return answer


@contextmanager
def service(version: str) -> Generator[str]:
    host, port = (address := free_address()).split(":")
    command = [sys.executable, "server.py", "--port", port, "--version", version]
    with subprocess.Popen(command, cwd=WEB) as process:
        try:
            wait_for(host, int(port))
            yield address
        finally:
            process.terminate()


def wait_for(host: str, port: int) -> None:
    pause = threading.Event()
    for _ in range(500):
        with socket.socket() as probe:
            if probe.connect_ex((host, port)) == 0:
                return
        pause.wait(0.02)
    pytest.fail("the service does not listen")


@contextmanager
def answering(answer: bytes) -> Generator[str]:
    """Give every connection the same bytes, whatever it asked, and close it."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=100)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)
                connection.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()

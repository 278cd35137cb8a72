"""A small web service to deploy: it says its version, counts bodies, and can be broken on purpose.

Version 3.x starts but never passes its health checks. Version 4.x passes them, and begins to fail
them BROKEN_AFTER_SECONDS after its first user's request, while it goes on answering users: so
even the broken versions cost no user a request.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast
from urllib.parse import parse_qs, urlsplit

BROKEN_AFTER_SECONDS = 1.5
PIECES = 20
"""Of a slow body."""
MAX_SLOW_BYTES, MAX_SLOW_SECONDS = 16 * 1024**2, 60.0


class Service(ThreadingHTTPServer):
    """The service in one version, a thread for each connection."""

    request_queue_size = 1024
    daemon_threads = True

    def __init__(self, port: int, version: str) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.version = version
        self.first_request_at: float | None = None

    def is_healthy(self) -> bool:
        """Say whether this version passes its checks now."""
        if self.version.startswith("3."):
            return False
        if self.version.startswith("4.") and self.first_request_at is not None:
            return time.monotonic() - self.first_request_at < BROKEN_AFTER_SECONDS
        return True


class Handler(BaseHTTPRequestHandler):
    """Answers one connection's requests, one after the other."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave in one packet
    disable_nagle_algorithm = True

    @property
    def service(self) -> Service:
        """Whose connection it is."""
        return cast("Service", self.server)

    def do_GET(self) -> None:
        """Answer a check or a user."""
        address = urlsplit(self.path)
        if address.path == "/healthz":
            self._check()
        elif address.path == "/slow":
            self._user_came()
            self._stream(parse_qs(address.query))
        else:
            self._user_came()
            self._answer(200, {"version": self.service.version, "received": 0})

    def do_POST(self) -> None:
        """Read the body to its end and say how long it was."""
        self._user_came()
        received = sum(len(piece) for piece in self._body())
        self._answer(200, {"version": self.service.version, "received": received})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base
        """Say nothing: a line for each of many requests helps nobody."""

    def _check(self) -> None:
        healthy = self.service.is_healthy()
        self._answer(200 if healthy else 503, {"healthy": healthy})

    def _user_came(self) -> None:
        if self.service.first_request_at is None:
            self.service.first_request_at = time.monotonic()

    def _answer(self, status: int, document: dict[str, object]) -> None:
        body = json.dumps(document).encode() + b"\n"
        self._head(status, "application/json", "Content-Length", str(len(body)))
        self.wfile.write(body)

    def _stream(self, query: dict[str, list[str]]) -> None:
        size = min(int(query.get("bytes", ["65536"])[0]), MAX_SLOW_BYTES)
        seconds = min(float(query.get("seconds", ["1"])[0]), MAX_SLOW_SECONDS)
        self._head(200, "application/octet-stream", "Transfer-Encoding", "chunked")
        for n in range(PIECES):
            piece = b"." * (size * (n + 1) // PIECES - size * n // PIECES)
            if piece:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.flush()
            time.sleep(seconds / PIECES)
        self.wfile.write(b"0\r\n\r\n")

    def _head(self, status: int, kind: str, length_name: str, length: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header(length_name, length)
        self.send_header("X-Version", self.service.version)
        self.end_headers()

    def _body(self) -> Iterator[bytes]:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            yield from self._chunks()
            return
        left = int(self.headers.get("Content-Length", "0"))
        while left and (piece := self.rfile.read1(min(left, 65_536))):
            left -= len(piece)
            yield piece

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().partition(b";")[0] or b"0", 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            """A trailer says nothing about the body's length."""


def main() -> None:
    """Serve one version on one port until ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--version", required=True)
    options = parser.parse_args()
    Service(options.port, options.version).serve_forever()


if __name__ == "__main__":
    main()

"""A server in a process of its own, what it has cost so far, and a client that is light."""

import http.client
import os
import re
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

ROOT = Path(__file__).parents[3]
BLOCK = 1024 * 1024
LONGEST = 64 * 1024
"""No line of the log that is exported is longer."""
TICKS = os.sysconf("SC_CLK_TCK")

_POSITION = re.compile(rb'(?:\{"position":)?(\d+)[,}]')


class Server(NamedTuple):
    """Where a server is."""

    pid: int
    port: int
    token: str

    def export(self, query: str) -> int:
        """Take an export to its end, and return the position that its last line begins with."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        headers = {"Authorization": f"Bearer {self.token}"}
        connection.request("GET", f"/v1/exports?{query}", headers=headers)
        response = connection.getresponse()
        assert response.status == 200, response.read()
        # To count lines would take this process as long as it takes the server to make them.
        block, end = bytearray(BLOCK), b""
        while size := response.readinto(block):
            end = (end + block[max(0, size - LONGEST) : size])[-LONGEST:]
        connection.close()
        assert end.endswith(b"\n")
        found = _POSITION.match(end[:-1].rpartition(b"\n")[2])
        assert found
        return int(found[1])

    @property
    def cpu_seconds(self) -> float:
        """Processor time of the process so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    @property
    def most_megabytes(self) -> float:
        """The most memory that the process has held (`VmHWM`)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found
        return int(found[1]) / 1024


@contextmanager
def served(place: str) -> Generator[Server]:
    """Serve the log of a database's URL or of a folder."""
    program = [sys.executable, "-m", "tests.benchmarks.exporting.server", place]
    pipe = subprocess.PIPE
    with subprocess.Popen(program, cwd=ROOT, stdin=pipe, stdout=pipe) as process:
        assert process.stdout
        try:
            said = msgspec.json.decode(process.stdout.readline())
            yield Server(process.pid, said["port"], said["token"])
            assert process.stdin
            process.stdin.close()
            process.wait(30)
        finally:
            process.kill()

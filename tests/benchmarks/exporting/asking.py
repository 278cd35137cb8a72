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
TICKS = os.sysconf("SC_CLK_TCK")


class Server(NamedTuple):
    """Where a server is."""

    pid: int
    port: int
    token: str

    def export(self, query: str) -> int:
        """Take an export to its end, and return how many lines it has."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        headers = {"Authorization": f"Bearer {self.token}"}
        connection.request("GET", f"/v1/exports?{query}", headers=headers)
        response = connection.getresponse()
        assert response.status == 200, response.read()
        lines = 0
        while block := response.read(BLOCK):
            lines += block.count(b"\n")
        connection.close()
        return lines

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

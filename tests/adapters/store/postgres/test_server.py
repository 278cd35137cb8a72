"""The server that we start ourselves: found again, started again, and no innocent is stopped."""

import os
import signal
import subprocess
import time
from pathlib import Path

import psycopg
import pytest

from shipslog.adapters.store.postgres_server import PORTS, PostgresServer
from tests.databases import running_server


def test_a_server_that_was_killed_is_gone_and_starts_again_where_it_was() -> None:
    with running_server() as server:
        pid, url = server.pid, server.url()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while server.pid and time.monotonic() < deadline:
            time.sleep(0.01)
        assert server.pid is None
        server.stop()
        server.start()
        assert server.pid not in {None, pid}
        with psycopg.connect(url) as connection:
            assert connection.info.port in PORTS


def test_a_file_that_names_another_process_stops_nobody(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "600"], cwd="/") as innocent:
        (tmp_path / "postmaster.pid").write_text(f"{innocent.pid}\n")
        server = PostgresServer(tmp_path)
        assert server.pid is None
        server.stop()
        assert innocent.poll() is None
        innocent.kill()


def test_ports_of_servers_are_not_those_of_outgoing_connections() -> None:
    path = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if not path.exists():
        pytest.skip("the kernel does not say which ports outgoing connections take")
    first = int(path.read_text().split()[0])
    assert first >= PORTS.stop

"""What every run obeys: with SHIPSLOG_TEST_REQUIRE_ALL=1 a skip is a failure.

What a shell runs in the background is deaf to Ctrl-C, and so is all that it starts: not here.
"""

import os
import signal
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from shipslog.adapters.store.postgres_server import PostgresServer

REQUIRE_ALL = os.environ.get("SHIPSLOG_TEST_REQUIRE_ALL") == "1"
MAY_BE_MISSING = "PostgreSQL 15: apt has none"
"""The one reason to skip that is always accepted: newer Debians do not carry it."""


def pytest_configure() -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def server() -> Iterator["PostgresServer"]:
    """Give the database server of a session, from which `fresh_ledger` has ledgers."""
    from tests.databases import make_template, running_server  # noqa: PLC0415 - for those who ask

    with running_server() as server:
        make_template(server)
        yield server


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if not hasattr(report, "wasxfail"):
        fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    fail_if_skipped(report)
    return report


def fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    if REQUIRE_ALL and report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if reason != MAY_BE_MISSING:
            report.outcome = "failed"
            report.longrepr = f"skipped, though SHIPSLOG_TEST_REQUIRE_ALL=1: {reason}"

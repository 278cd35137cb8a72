"""The demo: a service deployed, switched under load, broken twice, and its history told.

scripts/demo runs it. It takes no port and no folder but its own, and ends what it started.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

import progress
import summary
from apart import Apart
from clients import Clients
from installation import ROOT, Installation, free_address

from shipslog.api.wire.shapes import Status

RATE = 200
"""Requests a second."""
CALM_SECONDS = 1.0
"""Of load before the first switch and after the last."""
ROLLBACK_SECONDS = 1.0
"""What the way back may take."""
PIPELINE, ENVIRONMENT = "web", "staging"


class Chapter(NamedTuple):
    """A version, how its deployment should end, and why."""

    version: str
    outcome: str
    why: str


FIRST = Chapter("1.0.0", "succeeded", "the first version")
UNDER_LOAD = (
    Chapter("2.0.0", "succeeded", "a good version, switched to under load"),
    Chapter("3.0.0", "failed", "starts and fails its checks: no user meets it"),
    Chapter("4.0.0", "rolled_back", "passes its checks, and fails them once users are there"),
)


def main() -> int:
    """Run the demo; the exit code is 0 if everything went as it should."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the server up")
    parser.add_argument(
        "--postgres",
        action="store_true",
        help="on PostgreSQL, with a server and two workers, one of which is killed",
    )
    asked = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    installation = Apart() if asked.postgres else Installation()
    is_kept = False
    try:
        story = tell(installation)
        is_kept = asked.keep
    except Exception:
        print(f"The server said:\n{installation.said()}", file=sys.stderr)
        raise
    finally:
        if not is_kept:
            installation.end()
    summary.show(story)
    if is_kept:
        print(f"\n{installation.how_to_use()}")
    complaints = list(faults(story))
    if isinstance(installation, Apart) and installation.killed is None:
        complaints.append("no worker was killed")
    for complaint in complaints:
        print(f"NOT AS IT SHOULD BE: {complaint}")
    print(story.line())
    return 1 if complaints else 0


def tell(installation: Installation) -> summary.Story:
    """Deploy four versions, three of them under load, and return what happened."""
    begun = time.monotonic()
    url = installation.start()
    say(f"{installation.called}: {url} after {time.monotonic() - begun:.1f} s")
    users = free_address()
    apply(installation, users)
    deployments = [deploy(installation, FIRST)]
    with Clients(f"http://{users}", RATE) as clients:
        say(f"examples/load.py: {clients.begun}")
        time.sleep(CALM_SECONDS)
        deployments += [deploy(installation, chapter) for chapter in UNDER_LOAD]
        time.sleep(CALM_SECONDS)
        load = clients.report()
    return summary.Story(
        load=load,
        deployments=deployments,
        events=installation.ask("events")["items"],
        history=installation.ask("history", ENVIRONMENT, PIPELINE)["items"],
    )


def apply(installation: Installation, users: str) -> None:
    """Define the environment, with its users' address, and the pipeline."""
    environment = installation.folder / "staging.json"
    platform = {"kind": "processes", "routes": {PIPELINE: users}}
    document = {"kind": "Environment", "name": ENVIRONMENT, "platform": platform}
    environment.write_text(json.dumps(document))
    pipeline = ROOT / "examples/web/pipeline.py"
    installation.ask("apply", str(environment), str(pipeline))
    say(f"shipslog apply staging.json {pipeline.relative_to(ROOT)}")


def deploy(installation: Installation, chapter: Chapter) -> Status:
    """Deploy a version and show it until it has ended."""
    say(f"shipslog deploy {PIPELINE} {chapter.version} {ENVIRONMENT} --watch   # {chapter.why}")
    command = ("deploy", PIPELINE, chapter.version, ENVIRONMENT, "--reason", chapter.why)
    return progress.show(installation.watch(*command))


def faults(story: summary.Story) -> Iterator[str]:
    """Yield what did not go as it should."""
    for chapter, status in zip((FIRST, *UNDER_LOAD), story.deployments, strict=True):
        if status["status"] != chapter.outcome:
            yield f"{chapter.version} is {status['status']}, not {chapter.outcome}"
    if story.load["failed"]:
        yield f"{story.load['failed']} requests failed"
    if story.rollback_seconds is None:
        yield "nobody was led back from the broken version"
    elif story.rollback_seconds > ROLLBACK_SECONDS:
        yield f"the way back took {story.rollback_seconds:.3f} s"


def say(line: str) -> None:
    """Say what happens next."""
    print(f"\n$ {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

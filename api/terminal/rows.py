"""Rows of tables: what of a document stands in a list."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

from ..wire.shapes import Document, EventDocument, Status, Waiting
from .output import short

Row = Sequence[object]

EVENT_COLUMNS = ("POSITION", "RECORDED", "TOPIC", "STREAM", "BY", "DETAIL")
STATUS_COLUMNS = ("STATUS", "STAGE", "OF", "WAITING FOR")
STEP_COLUMNS = ("POSITION", "RECORDED", "TOPIC", "BY", *STATUS_COLUMNS, "DETAIL")
DEPLOYMENT_COLUMNS = ("ID", "SERVICE", "VERSION", "ENVIRONMENT", "STATUS", "BY", "REQUESTED")
TARGET_COLUMNS = ("ENVIRONMENT", "SERVICE", "VERSION", "SINCE", "DEPLOYMENT", "HOLDER")
HISTORY_COLUMNS = ("DEPLOYMENT", "VERSION", "STATUS", "BY", "REQUESTED", "COMPLETED", "REASON")
STAGE_FIELDS = ("name", "status", "attempt", "started_at", "ended_at", "message")


def event_row(event: EventDocument) -> Row:
    """Return position, instant, topic, stream, actor and the payload's plain values."""
    position, at, topic, *rest = transition_row(event)
    return position, at, topic, event["stream"], *rest


def transition_row(event: EventDocument) -> Row:
    """Return an event of a stream that need not be named."""
    actor = event["actor"]
    by = f"{actor['kind']}:{actor['name']}" if actor["name"] else actor["id"]
    return event["position"], event["recorded_at"], event["topic"], by, detail(event["payload"])


def status_row(status: Status) -> Row:
    """Return how a deployment stands: state, stage k of n, and what it waits for."""
    waits = "; ".join(map(waiting, status["waiting_on"]))
    return status["status"], status["current_stage"], status["total_stages"], waits


def status_rows(status: Status) -> Iterator[Row]:
    """Yield a status document line by line: its fields, then its stages, then its waits."""
    for name, value in status.items():
        if value is None or isinstance(value, str | int):
            yield name, value
    for stage in status["stages"]:
        values: dict[str, object] = dict(stage)
        yield "stage", *(values[field] for field in STAGE_FIELDS)
    for wait in status["waiting_on"]:
        yield "waiting_on", wait["kind"], wait["detail"], wait["since"], wait["until"]


def waiting(wait: Waiting) -> str:
    """Return what is waited for as a sentence."""
    sentence = wait["kind"]
    if wait["detail"]:
        sentence += f": {wait['detail']}"
    if wait["until"]:
        sentence += f", until {short(wait['until'])}"
    return sentence


def deployment_row(status: Document) -> Row:
    """Return a status document in one row."""
    fields = ("id", "service", "version", "environment", "status", "requested_by", "requested_at")
    return [status[field] for field in fields]


def step_row(event: EventDocument, state: Document) -> Row:
    """Return an event with the state after it; of what is no deployment its plain values."""
    *head, said = transition_row(event)
    if "current_stage" in state:
        return *head, *status_row(cast("Status", state)), said
    return *head, detail(state), None, None, None, said


def target_row(target: Document) -> Row:
    """Return what runs somewhere in one row."""
    fields = ("environment", "service", "version", "since", "deployment", "holder")
    return [target[field] for field in fields]


def history_row(entry: Document) -> Row:
    """Return one entry of a target's history."""
    fields = "deployment version status requested_by requested_at completed_at reason"
    return [entry[field] for field in fields.split()]


def detail(payload: Document) -> str:
    """Return a payload's plain values as `name=value`; lists and objects stay in the JSON."""
    shown = {k: v for k, v in payload.items() if isinstance(v, str | int) and v is not False}
    return " ".join(f"{name}={value}" for name, value in shown.items())

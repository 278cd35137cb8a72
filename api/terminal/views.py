"""How a deployment under way is shown: a live tree, lines, documents, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from ..wire.shapes import EventDocument, Status
from . import output
from .rows import transition_row

if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live


class View:
    """Shows nothing: only the end matters. A context, so that a terminal is left as it was."""

    shows_history = False
    """Whether it wants the events from before it began."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, status: Status, event: EventDocument | None) -> None:
        """Show a state, and the event that led to it where there was one."""


class Lines(View):
    """A line per transition, from the first on."""

    shows_history = True

    def show(self, status: Status, event: EventDocument | None) -> None:  # noqa: ARG002
        """Print the transition."""
        if event is not None:
            output.put_row(transition_row(event))


class Documents(View):
    """The status document after each transition, one a line."""

    def __init__(self) -> None:
        self._position = -1

    def show(self, status: Status, event: EventDocument | None) -> None:  # noqa: ARG002
        """Print the document where it is a new one."""
        if status["position"] != self._position:
            self._position = status["position"]
            output.put_json(status, one_line=True)


class LiveTree(View):
    """A tree that follows the deployment and the clock."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._status: Status | None = None
        self._live: Live | None = None

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, status: Status, event: EventDocument | None) -> None:  # noqa: ARG002
        """Redraw."""
        from rich.live import Live

        self._status = status
        if self._live is None:
            self._live = Live(get_renderable=self._tree, console=output.console())
            self._live.start()
        self._live.refresh()

    def _tree(self) -> Group | str:
        from .tree import tree

        return tree(self._status, self._now()) if self._status else ""


def chosen(*, as_json: bool) -> View:
    """Return the view for where stdout leads: a person's terminal or a program's pipe."""
    if as_json:
        return Documents()
    return LiveTree() if output.is_terminal() else Lines()

"""The document of an environment: where its services run, its limits, who waits for whom."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictInt, model_validator

from .argv import Variable
from .document import Document, Written
from .fields import Address, Folder, Name, only_empty, refuse, unbuilt

MAX_ROUTES = 500
MAX_HISTORY = 10_000


class Processes(Written):
    """Local processes behind the agent's own router."""

    kind: Annotated[
        Literal["processes"],
        unbuilt("platform", "haproxy", "kubernetes", "aws", "gcp", "azure"),
    ] = "processes"
    routes: Annotated[Mapping[Name, Address], Field(max_length=MAX_ROUTES)] = {}
    """Service to the address where its own users connect."""
    listen: Address | None = None
    """The one route of an environment that serves one service, whatever its name."""
    path: Annotated[Sequence[Folder], Field(max_length=50), AfterValidator(tuple)] = ()
    """Where a bare program is looked up; empty: the platform's default."""
    inherit: Annotated[Sequence[Variable], Field(max_length=100), AfterValidator(tuple)] = ()
    """Names of variables handed on from the server's environment."""

    @model_validator(mode="after")
    def _routes_do_not_meet(self) -> Processes:
        if self.listen is not None and self.routes:
            message = "listen is the short form of routes: there is one or the other."
            refuse(message, at="/listen")
        taken = dict[str, str]()
        for service, address in self.routes.items():
            if address in taken:
                message = f"{address} is the route of {taken[address]} already."
                refuse(message, at=f"/routes/{service}")
            taken[address] = service
        return self


def _nobody(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        refuse("This build does not have approvals yet.", "not-available")
    return value


class Approvals(Written):
    """How many people must agree."""

    required: Annotated[StrictInt, Field(ge=0, le=0), BeforeValidator(_nobody)] = 0


class Limits(Written):
    """How many deployments it takes; None: as many as come."""

    per_hour: Annotated[StrictInt, Field(ge=1, le=100_000)] | None = None
    concurrent: Annotated[StrictInt, Field(ge=1, le=1000)] | None = None


Empty = Annotated[Sequence[Any], Field(max_length=0), AfterValidator(tuple)]


class EnvironmentDocument(Document):
    """A place where services are deployed."""

    kind: Literal["Environment"] = "Environment"
    name: Name
    platform: Processes = Processes()
    history_limit: Annotated[StrictInt, Field(ge=1, le=MAX_HISTORY)] = 50
    """How many deployments of a service the bounded history keeps."""
    approvals: Approvals = Approvals()
    windows: Annotated[Empty, only_empty("windows")] = ()
    freezes: Annotated[Empty, only_empty("freezes")] = ()
    limits: Limits = Limits()
    concurrency: Literal["queue", "refuse"] = "queue"

    def address_of(self, service: str, serving: Collection[str] = ()) -> str | None:
        """Return where a service's users connect, or None if it has no route.

        `serving` are the services already deployed here: `listen` is the first one's.
        """
        is_short_form = all(other == service for other in serving)
        return self.platform.routes.get(service, self.platform.listen if is_short_form else None)

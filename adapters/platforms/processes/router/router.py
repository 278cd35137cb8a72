"""The router: a listener for each address, a route for each target, requests shared by weight."""

from __future__ import annotations

import asyncio

from .....domain.errors import AddressTakenError, InvalidError, StateConflictError
from .....domain.ports import Route, Traffic
from .connection import Connection
from .site import WHOLE, Site, serve

BACKLOG = 1024


class Router:
    """All sites and listeners."""

    def __init__(self) -> None:
        self._sites: dict[str, Site] = {}
        self._listeners: dict[str, tuple[str, asyncio.Server]] = {}
        self._serving: set[asyncio.Task[None]] = set()
        self._routing = asyncio.Lock()

    def site(self, target: str) -> Site:
        """Return the site of a target."""
        return self._sites.setdefault(target, Site())

    async def route(self, target: str, route: Route) -> None:
        """Set a target's route for every request from now on.

        A route to nothing listens where it listens already, and nowhere else.
        Errors: InvalidError; AddressTakenError where the address cannot be listened on.
        """
        site = self.site(target)
        async with self._routing:
            _check(site, route)
            if route.weights:
                await self._listen(target, route.listen)
            site.route = route
        for address, (owner, server) in list(self._listeners.items()):
            if owner == target and address != route.listen:
                del self._listeners[address]
                server.close()

    async def retire(self, target: str, revision: str, drain: float, deadline: float) -> None:
        """Wait till a revision has nothing in flight; see `Revision.drain`.

        Errors: StateConflictError while it is routed.
        """
        site = self.site(target)
        if site.route and site.route.weights.get(revision):
            message = f"revision {revision} of {target} is still routed"
            raise StateConflictError(message)
        if retired := site.revisions.get(revision):
            await retired.drain(drain, deadline)
            del site.revisions[revision]

    def routed(self, target: str) -> Route | None:
        """Return the route in force."""
        return self._sites[target].route if target in self._sites else None

    def traffic(self, target: str) -> dict[str, Traffic]:
        """Return the counts by revision."""
        revisions = self._sites[target].revisions if target in self._sites else {}
        return {name: revision.traffic() for name, revision in revisions.items()}

    async def close(self) -> None:
        """Close all listeners and connections."""
        for _, server in self._listeners.values():
            server.close()
        for task in self._serving:
            task.cancel()
        if self._serving:
            await asyncio.wait(self._serving)

    async def _listen(self, target: str, address: str) -> None:
        owner = self._listeners[address][0] if address in self._listeners else None
        if owner == target:
            return
        if owner is not None:
            message = f"{address} serves {owner} already"
            raise InvalidError(message, pointer="/listen")
        host, port = _parse(address)
        site = self.site(target)
        try:
            server = await asyncio.get_running_loop().create_server(
                lambda: Connection(lambda client: self._serve(client, site)),
                host,
                port,
                backlog=BACKLOG,
                reuse_address=True,
            )
        except OSError as error:
            raise AddressTakenError(address=address, detail=error.strerror) from error
        self._listeners[address] = target, server

    def _serve(self, client: Connection, site: Site) -> None:
        task = asyncio.get_running_loop().create_task(serve(client, site))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)


def _check(site: Site, route: Route) -> None:
    """Errors: InvalidError for weights that are no whole, or a revision that was never started."""
    if route.weights and (sum(route.weights.values()) != WHOLE or min(route.weights.values()) < 0):
        message = f"weights must sum to {WHOLE} basis points"
        raise InvalidError(message, pointer="/weights")
    if unknown := [
        name for name, weight in route.weights.items() if weight and name not in site.revisions
    ]:
        message = f"no revision {unknown[0]} was started"
        raise InvalidError(message, pointer="/weights")


def _parse(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        message = f"{address} is no host:port"
        raise InvalidError(message, pointer="/listen")
    return host.strip("[]"), int(port)

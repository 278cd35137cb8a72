"""switch: every new request goes to the new revision, in one step."""

from __future__ import annotations

import msgspec

from ..errors import AddressTakenError
from ..ports import Route
from ..target import Serving, Target
from .work import Outcome, Work, deaths, failed, succeeded

ALL = 10_000
"""Basis points."""


class SwitchSpec(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="switch"):
    """Nothing to say: blue-green switches all traffic at once."""


async def perform(_spec: SwitchSpec, work: Work) -> Outcome:
    """Route everything to the new revision, if all of it runs."""
    revision = work.new_revision
    if work.listen is None or revision is None:
        return failed("There is no route or no new revision to switch to.")
    instances = await work.outside.platform.instances(work.target.name, revision)
    # Traffic never goes to more than what can carry it.
    if ended := deaths(instances):
        return failed(ended)
    weights = {revision: ALL}
    try:
        await work.outside.platform.route(work.effect, Route(work.listen, weights))
    except AddressTakenError as error:
        # Decided: no user's request has reached the new revision.
        return failed(str(error))
    serving = Serving(listen=work.listen, weights=weights, live=revision)
    return succeeded(Target.Routed(deployment=work.deployment.id, serving=serving))

"""run: a command, carried to its end in the deployment's workspace."""

from __future__ import annotations

import msgspec

from ..ports import FenceClass, SecretRef
from .work import Outcome, Work


class RunSpec(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="run"):
    """An argument list and what is declared for its environment."""

    argv: tuple[str, ...]
    env: dict[str, str | SecretRef] = {}
    idempotent: bool = False
    """Whether it may run again where its result was lost."""


async def perform(spec: RunSpec, work: Work) -> Outcome:
    """Run the command, or wait for the one that this try has started already."""
    launch = work.launch(spec.argv, spec.env)
    await work.prepare()
    return await work.conclude(await work.outside.platform.run(work.effect, launch))


async def cancel(spec: RunSpec, work: Work) -> str | None:
    """End the command with its whole process tree; return the digest of what it printed."""
    platform = work.outside.platform
    await platform.stop(work.effect)
    if platform.fence_class is FenceClass.NONE:
        return None  # whoever asks there how it ended starts it again
    ended = await platform.run(work.effect, work.launch(spec.argv, spec.env))
    return await work.outside.blobs.put(ended.output) if ended.output else None

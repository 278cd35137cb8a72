"""What the read models have seen of a log, held against the log that is there."""

from __future__ import annotations

from sqlalchemy.exc import DatabaseError

from ...adapters.store.verify import Finding
from ...domain.errors import BrokenError, CorruptLogError
from ...projections.follower import Views, standing
from .stores import Archive


async def missing(ledger: Archive, rows: Views) -> list[Finding]:
    """Return a finding where the read models have seen an event that is not in the log any more.

    They follow what is durable, so that such a log was cut, or put back from a copy. Views that
    are not there have seen nothing.
    """
    try:
        seen = await rows.read(standing)
    except (DatabaseError, BrokenError):
        return []
    if not seen.position:
        return []
    try:
        newest = await ledger.log.page(after=seen.position - 1, limit=1)
    except CorruptLogError:
        return []  # found where every event is looked at
    if newest and newest[0].header.payload_sha256 == seen.newest:
        return []
    detail = f"the read models have seen an event at {seen.position} that is not in this log"
    return [Finding(await ledger.log.head(), "", detail)]

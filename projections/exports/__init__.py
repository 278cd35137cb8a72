"""exports: a stretch of the log for others to read, line by line, and what says that it is whole.

Nothing here is a read model: every line is made of the stored bytes, and the log alone decides.
"""

from .checking import Fault, check
from .choosing import Filter
from .formats import FORMATS, Format, Name
from .lines import Chunk, MalformedLineError
from .manifest import (
    Bound,
    Content,
    Made,
    Manifest,
    Period,
    Positions,
    Query,
    Selection,
    Source,
    Tally,
    manifest_of,
)
from .partial import Partial, read_partial
from .writing import Stretches, written

__all__ = [
    "FORMATS",
    "Bound",
    "Chunk",
    "Content",
    "Fault",
    "Filter",
    "Format",
    "Made",
    "MalformedLineError",
    "Manifest",
    "Name",
    "Partial",
    "Period",
    "Positions",
    "Query",
    "Selection",
    "Source",
    "Stretches",
    "Tally",
    "check",
    "manifest_of",
    "read_partial",
    "written",
]

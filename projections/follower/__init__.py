"""What every read model stands on: its base, its rows, the views, the follower, pages of rows.

`ReadModel` says what a read model is; `Views` keeps the rows and the position of all of them and
stores both in one transaction, in a file (`SqliteViews`) or in a database (`postgres`);
`Projector` feeds it from a log, `Follower` as it grows.
"""

from .folding import Parked, parked
from .following import Follower
from .keyset import MAX_LIMIT, Page, Slice, browse
from .projecting import Observer, Projector, Rebuilt
from .read_model import ReadModel, instant, memory_of, micros, stale_since
from .rows import (
    TEXT,
    WHOLE,
    Row,
    add,
    amend,
    among,
    ask,
    do,
    encoded,
    put,
    rows_differ,
    storable,
    with_keys,
)
from .sqlite import SqliteViews
from .views import Moved, OutdatedViewsError, Views, standing

__all__ = [
    "MAX_LIMIT",
    "TEXT",
    "WHOLE",
    "Follower",
    "Moved",
    "Observer",
    "OutdatedViewsError",
    "Page",
    "Parked",
    "Projector",
    "ReadModel",
    "Rebuilt",
    "Row",
    "Slice",
    "SqliteViews",
    "Views",
    "add",
    "amend",
    "among",
    "ask",
    "browse",
    "do",
    "encoded",
    "instant",
    "memory_of",
    "micros",
    "parked",
    "put",
    "rows_differ",
    "stale_since",
    "standing",
    "storable",
    "with_keys",
]

"""What every read model stands on: its base, the file of views, the follower, pages of rows.

`ReadModel` says what a read model is; `Views` keeps the rows and the position of all of them in
one file and stores both in one transaction; `Projector` feeds it from a log, `Follower` as it
grows.
"""

from .following import Follower
from .keyset import MAX_LIMIT, Page, Slice, browse
from .projecting import Observer, Projector, Rebuilt
from .read_model import ReadModel, instant, micros, put, rows_differ, stale_since
from .views import Parked, Views, parked, standing

__all__ = [
    "MAX_LIMIT",
    "Follower",
    "Observer",
    "Page",
    "Parked",
    "Projector",
    "ReadModel",
    "Rebuilt",
    "Slice",
    "Views",
    "browse",
    "instant",
    "micros",
    "parked",
    "put",
    "rows_differ",
    "stale_since",
    "standing",
]

"""What every read model stands on: its base, the file of views, the follower, pages of rows.

`ReadModel` says what a read model is; `Views` keeps the rows and the position of all of them in
one file and stores both in one transaction; `Follower` feeds it from the log.
"""

from .following import Follower, Observer, Rebuilt
from .keyset import MAX_LIMIT, Page, Slice, browse
from .read_model import ReadModel, instant, micros, put, rows_differ, stale_since
from .views import Parked, Views, parked, standing

__all__ = [
    "MAX_LIMIT",
    "Follower",
    "Observer",
    "Page",
    "Parked",
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

"""deployments: the status document of every deployment, and lists of them."""

from .document import Links, Live, Rollback, Stage, StatusDocument, Waiting
from .life import apply, fold
from .rows import Deployments, Filters, counted, get, listed, several

__all__ = [
    "Deployments",
    "Filters",
    "Links",
    "Live",
    "Rollback",
    "Stage",
    "StatusDocument",
    "Waiting",
    "apply",
    "counted",
    "fold",
    "get",
    "listed",
    "several",
]

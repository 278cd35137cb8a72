"""deployments: the status document of every deployment, and lists of them."""

from .document import Links, Live, Outline, Rollback, Stage, StatusDocument, Waiting
from .life import apply, fold
from .rows import SHOWN, TABLE, Deployments, Filters, counted, get, listed, outline

__all__ = [
    "SHOWN",
    "TABLE",
    "Deployments",
    "Filters",
    "Links",
    "Live",
    "Outline",
    "Rollback",
    "Stage",
    "StatusDocument",
    "Waiting",
    "apply",
    "counted",
    "fold",
    "get",
    "listed",
    "outline",
]

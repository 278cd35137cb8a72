"""The read models in a schema of the database that holds the ledger, shared by many processes."""

from .schema import REVISION, SCHEMA, create
from .views import PostgresViews

__all__ = ["REVISION", "SCHEMA", "PostgresViews", "create"]

"""Exporting: what a query means on a log, and its lines made on a thread; for HTTP and for here."""

from .batches import batches
from .selecting import People, Readable, select, subject_of

__all__ = ["People", "Readable", "batches", "select", "subject_of"]

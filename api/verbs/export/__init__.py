"""The verb `export`: the log as a file that is whole or not there, and its manifest beside it."""

from .verb import export

__all__ = ["export"]

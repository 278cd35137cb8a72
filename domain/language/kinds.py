"""The kinds of documents, by the name each gives itself."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import InvalidError
from .compiler import compile_pipeline
from .environment import EnvironmentDocument
from .parsing import Json
from .pipeline import Pipeline


def parse_document(data: Mapping[str, Json]) -> Pipeline | EnvironmentDocument:
    """Read a document by its `kind`; InvalidError for another kind and for what is wrong in it."""
    match data.get("kind"):
        case "Environment":
            return EnvironmentDocument.parse(data)
        case "Pipeline":
            pipeline = Pipeline.parse(data)
            compile_pipeline(pipeline)
            return pipeline
        case _:
            message = "A document is of the kind Environment or Pipeline."
            raise InvalidError(message, pointer="/kind")

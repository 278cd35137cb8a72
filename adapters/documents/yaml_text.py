"""YAML 1.2 text to documents: plain data only, each value with the line it stands on.

Documents are built from the parser's events, not by its constructor, so that nothing but the core
schema's values can arise: aliases, anchors, tags and twin keys are refused where they stand.
"""

# ruamel.yaml types its events in part only.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from ...domain.language.parsing import Json, escaped
from .written import MAX_DEPTH, MAX_DOCUMENTS, WrittenDocument, unreadable

_NULL = re.compile(r"null|Null|NULL|~|")
_BOOLEAN = re.compile(r"(true|True|TRUE)|false|False|FALSE")
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}|0o[0-7]{1,20}|0x[0-9a-fA-F]{1,15}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NO_NUMBER = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def read_yaml(text: str, file: str) -> list[WrittenDocument]:
    """Return the documents of a YAML 1.2 text; InvalidError with file, line and path."""
    reader = _Reader(text, file)
    try:
        return list(reader.documents())
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise unreadable(file, line, "This character is not allowed in YAML.") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise unreadable(file, mark and mark.line + 1, _sentence(error)) from None
    except YAMLError as error:
        raise unreadable(file, None, str(error)) from None


def _sentence(error: MarkedYAMLError) -> str:
    return "This is no YAML: " + " ".join(filter(None, (error.context, error.problem))) + "."


class _Reader:
    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.events: Iterator[Event] = YAML(typ="safe", pure=True).parse(text)
        self.lines: dict[str, int] = {}

    def documents(self) -> Iterator[WrittenDocument]:
        count = 0
        for event in self.events:
            if not isinstance(event, DocumentStartEvent):
                continue
            count += 1
            if count > MAX_DOCUMENTS:
                raise self.fault(event, "", f"A file has at most {MAX_DOCUMENTS} documents.")
            self.lines = {}
            root = next(self.events)
            fields = self.value(root, "", 1)
            if isinstance(fields, dict):
                yield WrittenDocument(self.file, fields, self.lines)
            elif fields is not None:
                raise self.fault(root, "", "A document is a mapping of fields.")

    def value(self, event: Event, pointer: str, depth: int) -> Json:
        self.lines[pointer] = _line(event)
        self.refuse_cleverness(event, pointer)
        if isinstance(event, ScalarEvent):
            return self.scalar(event, pointer)
        if depth > MAX_DEPTH:
            raise self.fault(event, pointer, f"A document is at most {MAX_DEPTH} levels deep.")
        if isinstance(event, SequenceStartEvent):
            return self.sequence(pointer, depth)
        return self.mapping(pointer, depth)

    def refuse_cleverness(self, event: Event, pointer: str) -> None:
        if isinstance(event, AliasEvent):
            raise self.fault(event, pointer, "Aliases are not read: write the value out.")
        if isinstance(event, NodeEvent) and event.anchor is not None:
            raise self.fault(event, pointer, "Anchors are not read: write the value out.")
        if getattr(event, "tag", None) is not None:
            raise self.fault(event, pointer, "Tags are not read: only plain values are.")

    def sequence(self, pointer: str, depth: int) -> list[Json]:
        values: list[Json] = []
        while not isinstance(event := next(self.events), SequenceEndEvent):
            values.append(self.value(event, f"{pointer}/{len(values)}", depth + 1))
        return values

    def mapping(self, pointer: str, depth: int) -> dict[str, Json]:
        fields: dict[str, Json] = {}
        while not isinstance(event := next(self.events), MappingEndEvent):
            key = self.key(event, pointer)
            where = pointer + escaped(key)
            if key in fields:
                raise self.fault(event, where, "This field is here twice.")
            fields[key] = self.value(next(self.events), where, depth + 1)
            self.lines[where] = _line(event)
        return fields

    def key(self, event: Event, pointer: str) -> str:
        self.refuse_cleverness(event, pointer)
        key = self.scalar(event, pointer) if isinstance(event, ScalarEvent) else None
        if not isinstance(key, str):
            raise self.fault(
                event, pointer, "A field's name is a text; put other values in quotes."
            )
        return key

    def scalar(self, event: ScalarEvent, pointer: str) -> Json:
        text: str = event.value
        if event.style:
            return text
        if _NULL.fullmatch(text):
            return None
        if boolean := _BOOLEAN.fullmatch(text):
            return boolean[1] is not None
        if _INTEGER.fullmatch(text):
            return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
        if _FLOAT.fullmatch(text) and math.isfinite(float(text)):
            return float(text)
        if _FLOAT.fullmatch(text) or _NO_NUMBER.fullmatch(text):
            raise self.fault(event, pointer, "This is no number that can be kept.")
        return text

    def fault(self, event: Event, pointer: str, sentence: str) -> Exception:
        return unreadable(self.file, _line(event), sentence, pointer)


def _line(event: Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1

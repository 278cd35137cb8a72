"""The child that runs a user's Python file and prints the documents it defines, as JSON.

Started as `python -IB -m shipslog.adapters.documents.collect FILE`; what the file prints goes to
stderr. It prints `{"documents": [...]}` or `{"fault": {...}}`.
"""

from __future__ import annotations

import json
import os
import resource
import runpy
import sys
import traceback
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ...domain.errors import InvalidError
from ...domain.language.document import Document
from ...domain.language.parsing import refused

MAX_MEMORY = 2 * 1024**3
MAX_WRITTEN = 8 * 1024**2


def main() -> None:
    """Collect the documents of the file named on the command line."""
    file = Path(sys.argv[1]).resolve()
    # The answer's channel is ours alone: prints of the file must not end up in it.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_WRITTEN, MAX_WRITTEN))
    # Behind everything else: a neighbour of the file is importable, and hides nothing.
    sys.path.append(str(file.parent))
    json.dump(collect(file), answer)
    answer.flush()


def collect(file: Path) -> dict[str, Any]:
    """Run a file and return its documents in the order of their names' first assignment."""
    try:
        values = runpy.run_path(str(file), run_name="__pipeline__")
    except ValidationError as error:
        fault = refused(error)
        return _fault(file, error, str(fault), fault)
    except InvalidError as error:
        return _fault(file, error, str(error), error)
    except SyntaxError as error:
        return {"fault": {"slug": "invalid", "detail": f"{error.msg}.", "line": error.lineno}}
    except BaseException as error:  # noqa: BLE001  whatever a user's file raises is told, not died of
        return _fault(file, error, f"{type(error).__name__}: {error}")
    found = {id(v): v for name, v in values.items() if _is_meant(name, v)}
    return {"documents": [document.document() for document in found.values()]}


def _is_meant(name: str, value: object) -> bool:
    return isinstance(value, Document) and not name.startswith("_")


def _fault(
    file: Path, error: BaseException, detail: str, refusal: InvalidError | None = None
) -> dict[str, Any]:
    frames = traceback.extract_tb(error.__traceback__)
    line = next((f.lineno for f in reversed(frames) if f.filename == str(file)), None)
    return {
        "fault": {
            "slug": refusal.slug if refusal else "invalid",
            "detail": detail[:1000],
            "pointer": refusal.pointer if refusal else "",
            "line": line,
        }
    }


if __name__ == "__main__":
    main()

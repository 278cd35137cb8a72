"""The placeholders of a command's arguments: `{name}`, filled in one pass and never read again."""

from __future__ import annotations

import re
from collections.abc import Mapping

_PLACEHOLDER = re.compile(r"\{([a-z]+)\}")


def fill(argument: str, values: Mapping[str, str]) -> str:
    """Return the argument with every known placeholder replaced; other braces stay as they are.

    >>> fill("--listen={host}:{port}", {"host": "localhost", "port": "8100"})
    '--listen=localhost:8100'
    >>> fill("{version}", {"version": "{port}", "port": "8100"})
    '{port}'
    >>> fill("{{7*7}} {} {unknown} ${HOME} $(id)", {"version": "1"})
    '{{7*7}} {} {unknown} ${HOME} $(id)'
    """
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), argument)

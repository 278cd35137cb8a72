"""The command types of users' files: argument lists, variables of the environment, secrets.

A command is never read by a shell: its arguments are passed byte for byte, but for the
placeholders that are filled in once when it is started.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Strict, Tag

from ..ports import SecretRef
from .document import Written
from .fields import Text, refuse
from .parsing import Json

MAX_ARGUMENTS = 1000
MAX_VARIABLES = 200

_PLACEHOLDER = re.compile(
    r"\{(version|service|environment|region|port|artifact|deployment|workspace)\}"
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_BANNED = re.compile(
    # What a loader, shell or interpreter obeys before a program's first line; and what is ours.
    r"(LD|DYLD|SHIPSLOG|BASH_FUNC)_.*|PATH|HOME|TMPDIR|ENV|BASH_ENV|SHELLOPTS|BASHOPTS|IFS|CDPATH"
    r"|PS4|PROMPT_COMMAND|GLOBIGNORE|GCONV_PATH|LOCPATH|NLSPATH|NODE_OPTIONS|NODE_PATH"
    r"|PYTHON(PATH|HOME|STARTUP|INSPECT|WARNINGS|BREAKPOINT|USERBASE|EXECUTABLE|PLATLIBDIR)"
    r"|PERL5?(LIB|OPT|DB)|RUBY(LIB|OPT)|JAVA_TOOL_OPTIONS|JDK_JAVA_OPTIONS|_JAVA_OPTIONS"
)


def _reference(reference: str) -> str:
    source, _, name = reference.partition(":")
    is_ours = name.startswith("SHIPSLOG_")
    is_variable = source == "env" and _VARIABLE.fullmatch(name) and not is_ours
    is_file = source == "file" and name.startswith("/") and ".." not in name.split("/")
    if is_variable or is_file:
        return reference
    return refuse("A secret is env:NAME, none of Shipslog's own, or file: and an absolute path.")


class Secret(Written):
    """A value fetched at the moment of use: `env:NAME` or `file:PATH`, of the server's."""

    secret: Annotated[Text, AfterValidator(_reference)]


def _list(value: Json) -> Json:
    if not isinstance(value, list | tuple):
        message = 'A command is a list of arguments, ["make", "all"]: no shell reads it.'
        refuse(message, "invalid-command")
    for index, argument in enumerate(value):
        if isinstance(argument, str) and "\0" in argument:
            refuse("An argument holds no NUL.", "invalid-command", at=f"/{index}")
    return value


def _argv(arguments: Sequence[str]) -> tuple[str, ...]:
    if not 0 < len(arguments) <= MAX_ARGUMENTS:
        message = f"A command has 1 to {MAX_ARGUMENTS} arguments, its program first."
        refuse(message, "invalid-command")
    if fault := _fault_of_program(arguments[0]):
        refuse(fault, "invalid-command", at="/0")
    return tuple(arguments)


def _fault_of_program(program: str) -> str | None:
    # The workspace is an absolute folder: what follows it is judged like any absolute path.
    path = program.removeprefix("{workspace}") if program.startswith("{workspace}/") else program
    if not path or path.startswith("-"):
        return "A program is a name or an absolute path, not empty and without - in front."
    if "/" in path and not path.startswith("/"):
        return "A program is a bare name, an absolute path or {workspace}/…, not a relative path."
    if ".." in path.split("/"):
        return "A program's path holds no .. part."
    if _PLACEHOLDER.search(path):
        return "A program takes no placeholder but {workspace}/ in front."
    return None


def _variable(text: str) -> str:
    if not _VARIABLE.fullmatch(text):
        refuse("A variable's name is of letters, digits and _, the first no digit.")
    if _BANNED.fullmatch(text):
        # It would change which program runs, so it is a fault of the command.
        refuse(f"{text} is not for a stage to set.", "invalid-command")
    return text


def _kind_of_value(value: object) -> str:
    return "$secret" if isinstance(value, Mapping | Secret) else "$text"


def declared(env: Mapping[str, str | Secret]) -> dict[str, str | SecretRef]:
    """Return variables as a plan says them, secrets as references."""
    return {
        name: SecretRef(value.secret) if isinstance(value, Secret) else value
        for name, value in env.items()
    }


Argv = Annotated[Sequence[Text], AfterValidator(_argv), BeforeValidator(_list)]
Variable = Annotated[str, Strict(), AfterValidator(_variable)]
Env = Annotated[
    Mapping[
        Variable,
        Annotated[
            Annotated[Text, Tag("$text")] | Annotated[Secret, Tag("$secret")],
            Discriminator(_kind_of_value),
        ],
    ],
    Field(max_length=MAX_VARIABLES),
]

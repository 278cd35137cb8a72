"""The rules of hand that no linter knows, read from the syntax trees."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("domain", "projections", "adapters", "api")
EVERYWHERE = (*FOLDERS, "shipslog", "tests", "scripts", "examples")
FILE_LINES, TEST_FILE_LINES, FUNCTION_LINES, PARAMETERS = 400, 500, 50, 5
FILES, DOMAIN_FILES = 12, 20

OPTIONS = "typer makes a verb's options of its parameters"
MAY_TAKE_MORE_PARAMETERS: dict[str, str] = {
    "api/verbs/deploying.py:deploy": OPTIONS,
    "api/verbs/export/verb.py:export": OPTIONS,
    "api/verbs/log.py:events": OPTIONS,
    "api/verbs/showing.py:list_deployments": OPTIONS,
}
"""`path:function` to the reason why it takes more than five."""

BANNED_NAMES = re.compile(r"(^|_)(utils?|helpers?|common|managers?)(_|$)")
BANNED_CALLS = re.compile(r"(pickle\.\w+|yaml\.load|eval|exec|.*\.extractall)")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def test_no_folder_is_imported_past_the_face() -> None:
    imported = [
        f"{where}: {name}"
        for where, node in nodes()
        for name in absolute_imports(node)
        if name.partition(".")[0] in FOLDERS
    ]
    assert not imported, "say shipslog.domain, or .. inside the house"


def test_no_file_is_too_long() -> None:
    limits = {path: TEST_FILE_LINES if path.startswith("tests") else FILE_LINES for path in files()}
    lengths = {path: len(text(path).splitlines()) for path in files()}
    assert not [f"{path}: {n} lines" for path, n in lengths.items() if n > limits[path]]


def test_no_function_is_too_long() -> None:
    spans = [(where, node, lines(node)) for where, node in functions()]
    assert not [f"{where}:{f.name}: {n} lines" for where, f, n in spans if n > FUNCTION_LINES]


def test_no_function_takes_too_many_parameters() -> None:
    wide = {f"{where}:{f.name}" for where, f in functions() if parameters(f) > PARAMETERS}
    assert wide == set(MAY_TAKE_MORE_PARAMETERS)


def test_no_folder_holds_too_many_files() -> None:
    held = Counter(str(Path(path).parent) for path in files() if not path.endswith("__init__.py"))
    limits = {folder: DOMAIN_FILES if folder == "domain" else FILES for folder in held}
    assert not [f"{folder}: {n} files" for folder, n in held.items() if n > limits[folder]]


def test_no_file_has_a_name_that_says_nothing() -> None:
    assert not [path for path in files() if BANNED_NAMES.search(Path(path).stem)]


def test_no_call_runs_what_it_reads() -> None:
    assert not [
        f"{where}:{node.lineno} {ast.unparse(node)}"
        for where, node in nodes()
        if isinstance(node, ast.Call) and is_banned(node)
    ]


@pytest.mark.parametrize(
    ("source", "banned"),
    [
        ("pickle.loads(b'')", True),
        ("yaml.load(text)", True),
        ("run(command, shell=True)", True),
        ("eval(text)", True),
        ("tarfile.open(path).extractall(path)", True),
        ("model.eval()", False),
        ("run(command, shell=False)", False),
        ("re.compile(text)", False),
    ],
)
def test_a_banned_call_is_known_by_its_name(source: str, *, banned: bool) -> None:
    call = ast.parse(source, mode="eval").body
    assert isinstance(call, ast.Call)
    assert is_banned(call) is banned


def is_banned(call: ast.Call) -> bool:
    shell = any(k.arg == "shell" and ast.unparse(k.value) != "False" for k in call.keywords)
    return shell or BANNED_CALLS.fullmatch(ast.unparse(call.func)) is not None


def absolute_imports(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and not node.level:
        return [node.module or ""]
    return []


def parameters(function: Function) -> int:
    args = function.args
    named = [arg.arg for arg in args.posonlyargs + args.args + args.kwonlyargs]
    return len(named) - (named[:1] in (["self"], ["cls"]))


def lines(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def functions() -> Iterator[tuple[str, Function]]:
    for where, node in nodes():
        if isinstance(node, Function):
            yield where, node


def nodes() -> Iterator[tuple[str, ast.AST]]:
    for path in files():
        for node in ast.walk(ast.parse(text(path))):
            yield path, node


@cache
def files() -> list[str]:
    """Every Python file once, by its real place: links are not followed."""
    paths = [path for folder in EVERYWHERE for path in (ROOT / folder).rglob("*.py")]
    return sorted(str(path.relative_to(ROOT)) for path in paths)


@cache
def text(path: str) -> str:
    return (ROOT / path).read_text()

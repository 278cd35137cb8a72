"""Files: the contract's example in YAML, JSON and Python; sources; what cannot be read."""

import json
import textwrap
from pathlib import Path

import pytest

from shipslog.adapters.documents.files import read_file, read_files, read_text
from shipslog.adapters.documents.sources import allowed_source
from shipslog.adapters.documents.written import MAX_BYTES
from shipslog.domain.errors import InvalidError
from shipslog.domain.language.environment import EnvironmentDocument
from shipslog.domain.language.pipeline import Pipeline

from ...domain.language.pipelines import IN_PYTHON, WEB, plan_of

CONTRACT = """\
kind: Environment
name: staging                      # [a-z0-9][a-z0-9-]{0,62}
platform: {kind: processes, routes: {web: "127.0.0.1:8100"}}
history_limit: 50
approvals: {required: 0}
windows: []                        # none = always open
freezes: []
limits: {per_hour: 60, concurrent: 4}   # up to 100000 and 1000; none = no limit
concurrency: queue
---
kind: Pipeline
name: web
service: web
versioning: semver                 # or pep440, any
source: ./app
stages:
  - {name: build, run: ["python", "-m", "compileall", "."], timeout: 120s,
     retry: {attempts: 3, backoff: 2s}, idempotent: true, env: {MODE: fast}}
  - {name: lint, run: ["python", "-c", "print('ok')"]}
  - name: deploy
    needs: [build, lint]
    deploy:
      command: ["python", "server.py", "--port", "{port}", "--version", "{version}"]
      capacity: 2                                  # processes
      strategy: {kind: blue_green, monitor: 10s, max_error_share: 5%, min_requests: 20}
      drain: 30s
      health:                                      # asked of each new instance
        checks: [{http: "/healthz", expect: 200}]  # also tcp:, command:
        timeout: 2s
        interval: 500ms
        attempts: 10
        require: degraded
      rollback: {health_failure: immediate, degradation: immediate, user: immediate}
  - {name: verify, needs: [deploy], check: [{http: "/", expect: 200}]}
"""


def test_the_contracts_example_is_read_and_compiled(tmp_path: Path) -> None:
    file = tmp_path / "web.yaml"
    file.write_text(CONTRACT)
    environment, pipeline = (document.checked() for document in read_files([file]))
    assert isinstance(environment, EnvironmentDocument)
    assert isinstance(pipeline, Pipeline)
    assert pipeline.source == str(tmp_path / "app")


def test_yaml_json_and_python_give_one_document_and_one_plan(tmp_path: Path) -> None:
    in_yaml = read_text(CONTRACT.replace("./app", "/srv/app"), "web.yaml")[1]
    in_json = read_text(json.dumps(WEB), "web.json")[0]
    (tmp_path / "web.py").write_text(
        f"from shipslog import Pipeline\nweb = Pipeline.parse({WEB!r})\n"
    )
    (in_python,) = read_file(tmp_path / "web.py")
    definitions = [Pipeline.parse(d.fields) for d in (in_yaml, in_json, in_python)]
    assert {d.canonical for d in definitions} == {IN_PYTHON.canonical}
    assert {plan_of(d.document()).hash() for d in definitions} == {plan_of(WEB).hash()}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"a": 1,\n "a": 2}', ""),
        ('{"a": NaN}', ""),
        ('{"a": -Infinity}', ""),
        ('{"a": 1e400}', ""),
        ('{"a": ' + "9" * 5000 + "}", ""),
        ('{"a":\n' + "[" * 33 + "]" * 33 + "}", ":2"),
        ("[" * 100_000, ":1"),
        ('{"a": 1}\nx', ":2"),
        ("", ":1"),
        ("null", ":1"),
        ("[]", ":1"),
        ('{"a": "\t"}', ":1"),
    ],
)
def test_b18_to_b23_json_that_is_refused(text: str, place: str) -> None:
    with pytest.raises(InvalidError) as caught:
        read_text(text, "web.json")
    assert str(caught.value).startswith(f"web.json{place}: ")


def test_brackets_in_a_text_are_no_depth() -> None:
    (document,) = read_text(json.dumps({"a": "[" * 100 + '"\\'}), "web.json")
    assert document.fields["a"] == "[" * 100 + '"\\'


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"a: b\nc: \xff", ":2: This is not UTF-8."),
        (b"", ": There is no document in this file."),
        (b"# nothing\n---\n", ": There is no document in this file."),
        (b"a" * (MAX_BYTES + 1), f": A file has at most {MAX_BYTES} bytes."),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes, sentence: str) -> None:
    file = tmp_path / "web.yaml"
    file.write_bytes(content)
    with pytest.raises(InvalidError) as caught:
        read_file(file)
    assert str(caught.value) == f"{file}{sentence}"


@pytest.mark.parametrize("name", ["gone.yaml", "gone.py", "."])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidError, match=str(tmp_path)):
        read_file(tmp_path / name)


def test_a_mark_of_byte_order_is_no_text() -> None:
    assert read_text("\ufeffname: web", "web.yaml")[0].fields == {"name": "web"}


def test_a_source_is_a_real_folder_under_a_root(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder in (root / "app", outside):
        folder.mkdir(parents=True)
    (root / "file").touch()
    (root / "link").symlink_to(outside)
    (outside / "back").symlink_to(root / "app")
    assert allowed_source(str(root / "app"), [outside, root]) == str(root / "app")
    assert allowed_source(str(root), [root]) == str(root)
    assert allowed_source(str(outside / "back"), [root]) == str(root / "app")
    for bad in ("link", "file", "gone", "../outside", "../root-not", "a\0"):
        with pytest.raises(InvalidError, match="under SHIPSLOG_ROOTS") as caught:
            allowed_source(str(root / bad), [root])
        assert caught.value.pointer == "/source"


def test_b104_a_root_does_not_hold_what_only_begins_alike(tmp_path: Path) -> None:
    (tmp_path / "root-too").mkdir()
    with pytest.raises(InvalidError):
        allowed_source(str(tmp_path / "root-too"), [tmp_path / "root"])


def test_a_relative_source_is_nowhere() -> None:
    with pytest.raises(InvalidError, match="absolute"):
        allowed_source("app", [Path("/")])


def python(folder: Path, text: str) -> Path:
    file = folder / "pipeline.py"
    file.write_text(textwrap.dedent(text))
    return file


def test_a_python_file_offers_its_public_names_in_order(tmp_path: Path) -> None:
    (tmp_path / "stages_of_mine.py").write_text(
        "from shipslog import Run\nBUILD = Run(name='build', run=['make'])\n"
    )
    file = python(
        tmp_path,
        """
        from shipslog import Environment, Pipeline
        from stages_of_mine import BUILD
        print("this is not the answer")
        _draft = Pipeline(name="draft", stages=[BUILD])
        web = Pipeline(name="web", source="app", stages=[BUILD])
        staging = Environment(name="staging")
        again = web
        """,
    )
    documents = read_file(file)
    assert [document.fields["name"] for document in documents] == ["web", "staging"]
    assert documents[0].fields["source"] == str(tmp_path / "app")
    assert not list(tmp_path.glob("__pycache__"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x = 1\ny = (", ":2: '(' was never closed."),
        ("x = 1\nraise KeyError('gone')", ":2: KeyError: 'gone'"),
        ("import sys\nsys.exit(3)", ":2: SystemExit: 3"),
        (
            "from shipslog import *\nw = Wait(name='a',\n  wait='0s')",
            ":2: /wait: This lasts from 1ms to 24h.",
        ),
        (
            "from shipslog import *\nPipeline(name='b', stages=[Wait(name='a', wait='1s')] * 2)",
            ":2: /stages/1/name: Two stages are named a.",
        ),
        ("import os\nos._exit(4)", ": It ended with 4."),
        ("x = 1", ": There is no document in this file."),
    ],
)
def test_a_python_file_that_fails_is_told_by_its_line(
    tmp_path: Path, text: str, sentence: str
) -> None:
    file = tmp_path / "pipeline.py"
    file.write_text(text)
    with pytest.raises(InvalidError) as caught:
        read_file(file)
    assert str(caught.value) == f"{file}{sentence}"


def test_a_refusal_keeps_its_kind_across_the_child(tmp_path: Path) -> None:
    file = python(tmp_path, "from shipslog import Run\nRun(name='a', run=['./x'])")
    with pytest.raises(InvalidError) as caught:
        read_file(file)
    assert (caught.value.slug, caught.value.pointer) == ("invalid-command", "/run/0")


def test_a_python_file_does_not_see_our_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHIPSLOG_TOKEN", "planted")
    file = python(tmp_path, "import os\nraise ValueError(sorted(os.environ))")
    with pytest.raises(InvalidError) as caught:
        read_file(file)
    assert "SHIPSLOG" not in str(caught.value)

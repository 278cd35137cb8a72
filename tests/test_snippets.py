"""What the documents say to type, typed.

A block of bash is run where the line above it is `<!-- test -->`: from the checkout's root, with an
empty home and our commands on the path, and it must end with 0.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
MARKED = re.compile(r"^<!-- test -->\n```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_every_marked_snippet_runs(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for document in DOCUMENTS:
        for snippet in marked(document.read_text()):
            with subtests.test(document.name, snippet=snippet):
                ran = run(snippet, home=tmp_path)
                assert ran.returncode == 0, ran.stdout


def test_only_a_marked_block_is_a_snippet() -> None:
    text = "```bash\nfalse\n```\n\n<!-- test -->\n```bash\ntrue\ntrue\n```\n"
    assert marked(text) == ["true\ntrue\n"]


def test_a_snippet_stops_at_its_first_failure(tmp_path: Path) -> None:
    assert run("false\ntrue\n", home=tmp_path).returncode == 1


def marked(text: str) -> list[str]:
    return MARKED.findall(text)


def run(snippet: str, home: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", snippet],
        cwd=ROOT,
        env=os.environ | {"HOME": str(home), "PATH": path},
        timeout=60,
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )

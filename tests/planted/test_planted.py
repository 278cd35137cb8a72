"""Every planted bug is noticed, by the words that say so; every patch still fits."""

import re
import subprocess
from pathlib import Path

import pytest

from .planting import BUGS, FAILED, Bug

LISTED = {
    "acknowledge_before_sync",
    "arrive_after_its_undoing",
    "drop_the_token_check",
    "follow_redirects",
    "let_the_wrong_person_pass",
    "log_a_secret",
    "look_before_announcing",
    "no_deadline_while_promoting",
    "overwrite_a_terminal_state",
    "read_past_the_durable_head",
    "skip_poison",
    "tail_by_sequence",
    "wake_by_hints_only",
}


def test_every_bug_of_the_list_is_there() -> None:
    assert {bug.path.stem for bug in BUGS} == LISTED


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.path.stem)
def test_the_patch_still_fits(bug: Bug) -> None:
    try:
        bug.applies()
    except subprocess.CalledProcessError as error:
        pytest.fail(f"{bug.path.name} must be made anew: {error.stderr}")


@pytest.mark.system
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.path.stem)
def test_the_suite_notices(bug: Bug, tmp_path: Path) -> None:
    code, words = bug.noticed(bug.planted(tmp_path))
    assert code == FAILED, words
    assert re.search(bug.shows, words), words

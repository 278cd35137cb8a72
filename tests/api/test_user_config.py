"""The user's configuration: written for its owner alone, and a token goes nowhere else."""

from pathlib import Path

import pytest

from shipslog.api import user_config
from shipslog.api.settings import DEFAULT_URL
from shipslog.api.user_config import BadConfigError, Server


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return tmp_path


def test_without_a_configuration_the_server_is_the_one_up_starts() -> None:
    assert user_config.server({}) == Server(DEFAULT_URL)


def test_what_up_wrote_is_what_the_verbs_ask() -> None:
    stored = Server("http://127.0.0.1:9000", 'tok"en\\', "/srv/ledger")
    place = user_config.remember(stored)
    assert user_config.server({}) == Server(stored.url, stored.token)
    assert place.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in place.parent.iterdir()] == ["config.toml"]


def test_the_environment_wins() -> None:
    user_config.remember(Server("http://127.0.0.1:9000", "stored"))
    said = {"SHIPSLOG_URL": "https://ledger.example/", "SHIPSLOG_TOKEN": "given"}
    assert user_config.server(said) == Server("https://ledger.example", "given")


def test_a_stored_token_goes_to_no_other_server() -> None:
    user_config.remember(Server("http://127.0.0.1:9000", "stored"))
    assert user_config.server({"SHIPSLOG_URL": "https://elsewhere.example"}).token is None
    assert user_config.server({"SHIPSLOG_URL": "http://127.0.0.1:9000"}).token == "stored"


def test_a_later_start_on_the_same_data_keeps_the_token() -> None:
    user_config.remember(Server("http://127.0.0.1:9000", "stored", "/srv/a"))
    user_config.remember(Server("http://127.0.0.1:9001", None, "/srv/a"))
    assert user_config.server({}) == Server("http://127.0.0.1:9001", "stored")


def test_a_start_on_other_data_forgets_the_token() -> None:
    user_config.remember(Server("http://127.0.0.1:9000", "stored", "/srv/a"))
    user_config.remember(Server("http://127.0.0.1:9000", None, "/srv/b"))
    assert user_config.server({}).token is None


def test_a_broken_configuration_is_named() -> None:
    place = user_config.remember(Server("http://127.0.0.1:9000"))
    place.write_text("url = ")
    with pytest.raises(BadConfigError, match=str(place)):
        user_config.server({})

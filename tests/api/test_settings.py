"""Settings: what the environment may say, and what is refused."""

from pathlib import Path

import pytest

from shipslog.api.settings import BadSettingError, from_environment, seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [("500ms", 0.5), ("90s", 90), ("5m", 300), ("2h", 7200), ("1d", 86_400), ("1.5", 1.5)],
)
def test_durations_carry_their_unit(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "s", "-1s", "nan", "inf", "1e9", "5 m", "1w", "٣s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        seconds(text)


def test_the_data_folder_is_the_command_lines_then_the_environments_then_the_users() -> None:
    environ = {"SHIPSLOG_DATA": "/srv/ledger"}
    assert from_environment(environ, data=Path("/srv/said")).data == Path("/srv/said")
    assert from_environment(environ).data == Path("/srv/ledger")
    assert from_environment({}).data.name == "shipslog"


def test_a_database_url_names_the_store() -> None:
    embedded = from_environment({"SHIPSLOG_DATABASE_URL": "sqlite:////srv/ledger/ledger.db"})
    assert (embedded.data, embedded.postgres) == (Path("/srv/ledger"), None)
    url = "postgresql://user:secret@db/ledger"
    assert from_environment({"SHIPSLOG_DATABASE_URL": url}).postgres == url


@pytest.mark.parametrize(
    "url", ["mysql://user:hunter2@db/x", "sqlite:////srv/other.db", "hunter2", "sqlite://"]
)
def test_another_database_is_refused_without_showing_its_password(url: str) -> None:
    with pytest.raises(BadSettingError, match="SHIPSLOG_DATABASE_URL") as refused:
        from_environment({"SHIPSLOG_DATABASE_URL": url})
    assert "hunter2@" not in str(refused.value)
    with pytest.raises(BadSettingError):
        from_environment({"SHIPSLOG_DATABASE_URL": url, "SHIPSLOG_DATA": "/srv"})
    with pytest.raises(BadSettingError):
        from_environment({"SHIPSLOG_DATABASE_URL": url}, data=Path("/srv"))


def test_no_settings_show_a_password() -> None:
    url = "postgresql://user:hunter2@db/ledger"
    assert "hunter2" not in repr(from_environment({"SHIPSLOG_DATABASE_URL": url}))


@pytest.mark.parametrize(
    "listen", ["8080", "host", "host:port", "host:65536", "host:-1", ":٣", ":80"]
)
def test_a_bad_address_is_refused(listen: str) -> None:
    with pytest.raises(BadSettingError, match="HOST:PORT"):
        from_environment({}, listen=listen)


def test_an_address_may_be_of_either_family() -> None:
    assert from_environment({}, listen="[::1]:0").host == "::1"
    assert from_environment({}, listen="0.0.0.0:80").port == 80


@pytest.mark.parametrize("lease", ["0", "0s", "soon", "-15s", "999ms"])
def test_a_bad_lease_is_refused(lease: str) -> None:
    with pytest.raises(BadSettingError, match="SHIPSLOG_LEASE"):
        from_environment({"SHIPSLOG_LEASE": lease})


def test_roots_are_a_path_list_and_default_to_home_and_here() -> None:
    listed = from_environment({"SHIPSLOG_ROOTS": "/srv/a:/srv/b"}).roots
    assert listed == (Path("/srv/a"), Path("/srv/b"))
    assert from_environment({}).roots == (Path.home(), Path.cwd())

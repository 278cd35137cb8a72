"""Writing an export to a file: whole or not there, however often it breaks off on its way."""

from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec
import pytest

from shipslog.api.verbs.export import carrying
from shipslog.api.verbs.export.carrying import ExportCutOffError
from shipslog.api.verbs.export.sinks import NotResumableError, WrittenAlreadyError
from shipslog.api.verbs.export.writing import AlteredError, Wish, write
from shipslog.api.wire.shapes import CutOffError
from shipslog.projections.exports import Manifest, Name, Positions
from tests.projections.exports.making import FewEvents, stored

LOG = FewEvents([stored(n) for n in range(12)])
NAMES: list[Name] = ["ndjson", "csv"]


class Faulty:
    """A source that breaks off behind so many bytes, again and again, in its own way."""

    name = "a log"
    has_begun = True

    def __init__(self, made: Name, size: int, fault: Exception | None = None) -> None:
        self.selection = LOG.select(made)
        self.asked: list[int | None] = []
        self._size = size
        self._fault = fault

    async def chunks(self, after: int | None, *, has_head: bool) -> AsyncGenerator[bytes]:
        self.asked.append(after)
        rest = Positions((after or 0) + 1, self.selection.positions.last)
        selection = msgspec.structs.replace(self.selection, positions=rest)
        content = LOG.export(selection, has_head=has_head)
        for start in range(0, min(self._size, len(content)), 100):
            yield content[start : min(start + 100, self._size)]
        if self._size < len(content) and self._fault:
            raise self._fault

    async def manifest(self) -> Manifest:
        return LOG.manifest(self.selection)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrying, "LONGEST_WAIT", 0)


def wish(file: Path | None, made: Name, *, resume: bool = False) -> Wish:
    return Wish({"format": made}, file, None, resume=resume)


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def parts(folder: Path) -> list[Path]:
    return list(folder.glob("*.part"))


CUT = CutOffError("http://a", "it was cut off")


@pytest.mark.parametrize("made", NAMES)
@pytest.mark.parametrize("size", [900, 1500, 10_000])
async def test_what_breaks_off_goes_on_by_itself(tmp_path: Path, made: Name, size: int) -> None:
    source, file = Faulty(made, size, CUT), tmp_path / "out"
    await write(source, wish(file, made))
    assert file.read_bytes() == LOG.export(source.selection)
    assert source.asked[0] is None
    assert (len(source.asked) > 1) is (size < 10_000)
    assert names(tmp_path) == ["out", "out.manifest.json"]


@pytest.mark.parametrize("made", NAMES)
async def test_it_is_resumed_wherever_it_ended(tmp_path: Path, made: Name) -> None:
    whole = LOG.export(LOG.select(made))
    for size in range(1, len(whole), 97):
        file = tmp_path / f"{size}"
        with pytest.raises(OSError, match="no space"):
            await write(Faulty(made, size, OSError("no space")), wish(file, made))
        assert not file.exists()
        source = Faulty(made, len(whole))
        described = await write(source, wish(file, made, resume=True))
        assert described == msgspec.to_builtins(await source.manifest())
        assert file.read_bytes() == whole
    assert not parts(tmp_path)


@pytest.mark.parametrize("made", NAMES)
async def test_without_resume_it_begins_anew(tmp_path: Path, made: Name) -> None:
    file = tmp_path / "out"
    with pytest.raises(OSError, match="no space"):
        await write(Faulty(made, 1500, OSError("no space")), wish(file, made))
    (part,) = parts(tmp_path)
    assert part.stat().st_size > 0
    source = Faulty(made, 10_000)
    await write(source, wish(file, made))
    assert source.asked == [None]
    assert file.read_bytes() == LOG.export(source.selection)


async def test_parts_of_two_exports_do_not_mix(tmp_path: Path) -> None:
    file = tmp_path / "out"
    with pytest.raises(OSError, match="no space"):
        await write(Faulty("ndjson", 1500, OSError("no space")), wish(file, "ndjson"))
    source = Faulty("ndjson", 10_000)
    source.name = "another log"
    await write(source, wish(file, "ndjson", resume=True))
    assert source.asked == [None]


async def test_what_never_goes_on_is_given_up_and_left_to_be_resumed(tmp_path: Path) -> None:
    file = tmp_path / "out"
    with pytest.raises(ExportCutOffError):
        await write(Faulty("ndjson", 0, CUT), wish(file, "ndjson"))
    assert not names(tmp_path)


async def test_what_the_log_does_not_say_is_not_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "out"
    for place in (file, None):
        asked = Wish({"format": "ndjson"}, place, tmp_path / "manifest", resume=False)
        with pytest.raises(AlteredError):
            await write(Faulty("ndjson", 1500), asked)
    assert capsys.readouterr().out
    assert not names(tmp_path)


async def test_a_foreign_part_is_not_gone_on_with(tmp_path: Path) -> None:
    file = tmp_path / "out"
    with pytest.raises(OSError, match="no space"):
        await write(Faulty("ndjson", 1500, OSError("no space")), wish(file, "ndjson"))
    (part,) = parts(tmp_path)
    part.write_text("{}\n")
    with pytest.raises(NotResumableError):
        await write(Faulty("ndjson", 10_000), wish(file, "ndjson", resume=True))
    await write(Faulty("ndjson", 10_000), wish(file, "ndjson"))
    assert not parts(tmp_path)


async def test_two_do_not_write_one_file(tmp_path: Path) -> None:
    file = tmp_path / "out"
    first = Faulty("ndjson", 10_000)

    async def second_comes() -> Manifest:
        with pytest.raises(WrittenAlreadyError):
            await write(Faulty("ndjson", 10_000), wish(file, "ndjson"))
        return LOG.manifest(first.selection)

    first.manifest = second_comes  # type: ignore[method-assign]
    await write(first, wish(file, "ndjson"))
    assert file.read_bytes() == LOG.export(first.selection)


async def test_what_was_there_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "out"
    file.write_text("the last quarter")
    with pytest.raises(OSError, match="no space"):
        await write(Faulty("ndjson", 1500, OSError("no space")), wish(file, "ndjson"))
    assert file.read_text() == "the last quarter"
    await write(Faulty("ndjson", 10_000), wish(file, "ndjson"))
    assert file.read_bytes() == LOG.export(LOG.select("ndjson"))

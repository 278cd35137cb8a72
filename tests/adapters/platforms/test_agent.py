"""The agent as a process: found again, never doubled, and nothing of it left when it dies."""

import asyncio
import os
import shutil
import signal
import socket
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from shipslog.adapters.platforms.processes import control
from shipslog.adapters.platforms.processes.daemon import ANOTHER_LIVES, main
from shipslog.adapters.platforms.processes.fences import Fences
from shipslog.adapters.platforms.processes.platform import ProcessesPlatform, stop_agent
from shipslog.api.worker.guard import GuardedPlatform
from shipslog.api.worker.leases import Leases
from shipslog.domain.errors import (
    AddressTakenError,
    FenceRefusedError,
    InvalidError,
    PlatformUnavailableError,
    StateConflictError,
)
from shipslog.domain.event import Fence
from shipslog.domain.ports import Effect, Instance, RevisionSpec, Route
from tests.api.worker.test_leases import Queue, Watch

from .conftest import agent_of, kill_agent, socket_of
from .ground import DEPLOYMENT, Ground, eventually, get, is_running, launch, sleeper

FAMILY = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for detach in (lambda: None, os.setsid):
    if os.fork() == 0:
        detach()
        if os.fork() == 0:
            break
        os._exit(0)
open(f"pid-{os.getpid()}", "w").close()
time.sleep(300)
"""
"""A process and two double-forked ones, one in a session of its own, all deaf to SIGTERM."""


async def test_an_agent_is_started_once_and_found_again(data: Path) -> None:
    platforms = [ProcessesPlatform(data) for _ in range(5)]
    await asyncio.gather(*(platform.routed("staging/web") for platform in platforms))
    first = agent_of(data)
    await ProcessesPlatform(data).routed("staging/web")
    assert agent_of(data) == first
    assert os.getsid(first) != os.getsid(0)
    assert main(data) == ANOTHER_LIVES


async def test_only_we_may_talk_to_it(ground: Ground, data: Path) -> None:
    await ground.prepare()
    path = socket_of(data)
    assert (mode(path.parent), mode(path)) == (0o700, 0o600)
    assert len(str(path)) < 108


async def test_a_folder_that_others_may_enter_is_refused(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "shipslog").mkdir()
    (tmp_path / "shipslog").chmod(0o755)
    with pytest.raises(PlatformUnavailableError, match="ours alone"):
        control.socket_path(data)


async def test_another_protocol_is_refused_in_words(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ground.prepare()
    monkeypatch.setattr(control, "PROTOCOL", 99)
    with pytest.raises(PlatformUnavailableError, match="speaks version 2, we 99"):
        await ground.prepare()


@pytest.mark.parametrize(
    "line", [b"", b"garbage\n", b'{"protocol":2,"verb":"close"}\n', b"[" * 9999 + b"\n"]
)
async def test_garbage_does_not_disturb_it(ground: Ground, data: Path, line: bytes) -> None:
    await ground.prepare()
    connection = await control.connect(socket_of(data))
    assert connection
    reader, writer = connection
    writer.write(line)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    assert not answer or b"PlatformUnavailableError" in answer
    assert (await ground.run("true")).exit_code == 0


async def test_a_command_goes_on_when_its_client_dies(ground: Ground, data: Path) -> None:
    await ground.prepare()
    script = "touch begun; until test -e go; do sleep 0.01; done; echo done; touch done"
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CLIENT, str(data), script, str(Path(__file__).parents[3])
    )
    await ground.sh("until test -e begun; do sleep 0.01; done")
    client.kill()
    await client.wait()
    await ground.sh("touch go; until test -e done; do sleep 0.01; done")
    ended = await ground.sh(script, stage="build")
    assert (ended.exit_code, ended.output, ended.lost) == (0, b"done\n", False)


async def test_results_are_still_known_to_the_next_agent(ground: Ground, data: Path) -> None:
    await ground.prepare()
    first = await ground.sh("echo once; exit 3", stage="build")
    await stop_agent(data)
    assert await ground.sh("echo twice", stage="build") == first


async def test_fences_are_still_known_to_the_next_agent(ground: Ground, data: Path) -> None:
    await ground.platform.stop(ground.effect(fence=Fence(9, 2)))
    await kill_agent(data)
    with pytest.raises(Exception, match=r"9\.2"):
        await ground.platform.stop(ground.effect(fence=Fence(9, 1)))


async def test_what_was_stopped_and_announced_is_still_known_to_the_next_agent(
    ground: Ground, data: Path
) -> None:
    late, new = ground.effect("late"), Fence(9, 2)
    await ground.platform.stop(late)
    await kill_agent(data)
    with pytest.raises(StateConflictError, match="was stopped"):
        await ground.platform.start(late, sleeper())
    await ground.platform.announce(ground.target, new)
    await kill_agent(data)
    with pytest.raises(FenceRefusedError, match=r"9\.2"):
        await ground.platform.start(ground.effect(), sleeper())


async def test_who_announces_a_fence_waits_for_what_passed_below_it(tmp_path: Path) -> None:
    fences, begun, may_end = Fences(tmp_path / "fences"), asyncio.Event(), asyncio.Event()

    async def change(target: str, fence: Fence) -> None:
        async with fences.passing(target, fence):
            begun.set()
            await may_end.wait()

    changing = asyncio.create_task(change("staging/web", Fence(9, 1)))
    await begun.wait()
    await fences.announce("staging/web", Fence(9, 1))
    await fences.announce("staging/other", Fence(9, 2))
    announcing = asyncio.create_task(fences.announce("staging/web", Fence(9, 2)))
    await eventually(lambda: is_refused(fences, Fence(9, 1)), seconds=60)
    assert not announcing.done()
    may_end.set()
    await announcing
    assert changing.done()


async def test_what_was_sent_before_and_comes_after_a_takeover_is_refused(
    ground: Ground, data: Path
) -> None:
    """Its sender stands still between its look at the lease and the agent's socket."""
    await ground.prepare()
    watch = Watch()
    (old,) = await Leases("one", Queue(), 15.0, watch).claim(1)
    caught = CaughtPlatform(data)
    starting = asyncio.create_task(
        GuardedPlatform(caught, old).start(ground.effect("start", fence=Fence(9, 1)), sleeper())
    )
    await caught.stands.wait()
    watch.pass_by(15)
    (new,) = await Leases("another", Queue(), 15.0, watch).claim(1)
    taking_over = GuardedPlatform(ProcessesPlatform(data), new)
    await taking_over.announce(ground.target, Fence(9, 2))
    assert not await taking_over.instances(ground.target, "sleeper")
    caught.goes_on.set()
    with pytest.raises(FenceRefusedError, match=r"9\.2"):
        await starting
    assert not await taking_over.instances(ground.target, "sleeper")


async def is_refused(fences: Fences, fence: Fence) -> bool:
    try:
        await fences.admit("staging/web", fence)
    except FenceRefusedError:
        return True
    return False


class CaughtPlatform(ProcessesPlatform):
    """Lets a start stand still before it is sent."""

    def __init__(self, data: Path) -> None:
        super().__init__(data)
        self.stands, self.goes_on = asyncio.Event(), asyncio.Event()

    async def start(self, effect: Effect, spec: RevisionSpec) -> Sequence[Instance]:
        self.stands.set()
        await self.goes_on.wait()
        return await super().start(effect, spec)


async def test_when_the_agent_is_killed_its_children_end_within_five_seconds(
    ground: Ground, data: Path
) -> None:
    await ground.prepare()
    lost = asyncio.create_task(ground.python(FAMILY, stage="build"))
    await ground.platform.start(
        ground.effect(), RevisionSpec("v1", "1", launch("python", "-c", FAMILY), 2)
    )
    files = data / "agent" / "workspaces" / ground.target / "d1" / "files"
    await eventually(lambda: len(list(files.glob("pid-*"))) == 9)
    pids = [int(path.name.removeprefix("pid-")) for path in files.glob("pid-*")]
    assert all(map(is_running, pids))
    await kill_agent(data)
    await eventually(lambda: not any(map(is_running, pids)), seconds=5)
    with pytest.raises(PlatformUnavailableError):
        await lost


async def test_when_a_shim_is_killed_all_of_its_command_ends_and_nothing_else(
    ground: Ground, data: Path
) -> None:
    await ground.prepare()
    others = await ground.platform.start(ground.effect(), sleeper())
    lost = asyncio.create_task(ground.python(FAMILY, stage="build"))
    files = data / "agent" / "workspaces" / ground.target / "d1" / "files"
    await eventually(lambda: len(list(files.glob("pid-*"))) == 3)
    pids = [int(path.name.removeprefix("pid-")) for path in files.glob("pid-*")]
    (shim,) = {parent_of(pid) for pid in pids}
    os.kill(shim, signal.SIGKILL)
    assert (await lost).lost
    assert not any(map(is_running, pids)), "what is told to be over is over"
    assert await ground.platform.instances(ground.target, "sleeper") == others
    assert (await ground.run("true")).exit_code == 0


async def test_a_command_lost_with_its_agent_is_not_started_again(
    ground: Ground, data: Path
) -> None:
    await ground.prepare()
    script = "echo x >> count; touch begun; sleep 300"
    lost = asyncio.create_task(ground.sh(script, stage="build"))
    await ground.sh("until test -e begun; do sleep 0.01; done")
    await kill_agent(data)
    with pytest.raises(PlatformUnavailableError):
        await lost
    for _ in range(2):
        assert (await ground.sh(script, stage="build")).lost
    assert (await ground.run("cat", "count")).output == b"x\n"


async def test_the_next_agent_begins_when_the_children_of_the_dead_one_have_ended(
    ground: Ground, data: Path
) -> None:
    await ground.prepare()
    lost = asyncio.create_task(ground.python(FAMILY))
    await ground.sh("until test $(ls pid-* | wc -l) = 3; do sleep 0.01; done")
    listed = await ground.sh("ls")
    pids = [int(name.removeprefix("pid-")) for name in listed.output.decode().split()]
    await kill_agent(data)
    await ground.run("true")
    assert not [pid for pid in pids if is_running(pid)]
    with pytest.raises(PlatformUnavailableError):
        await lost


async def test_after_the_agent_s_death_a_revision_can_be_restored(
    ground: Ground, data: Path
) -> None:
    await ground.start("v1")
    await ground.route(v1=10_000)
    await kill_agent(data)
    assert await ground.platform.routed(ground.target) is None
    assert not await ground.platform.instances(ground.target, "v1")
    await ground.retire("v1")
    await ground.start("v1")
    await ground.route(v1=10_000)
    assert await get(ground.url) == (200, "v1")


@pytest.mark.parametrize("by", ["stop_agent", "SIGTERM"])
async def test_a_stopped_agent_ends_everything_and_itself(
    ground: Ground, data: Path, by: str
) -> None:
    await ground.start("v1")
    await ground.route(v1=10_000)
    (instance,) = await ground.platform.instances(ground.target, "v1")
    running = asyncio.create_task(ground.sh("touch begun; sleep 300", stage="build"))
    await ground.sh("until test -e begun; do sleep 0.01; done")
    agent = agent_of(data)
    if by == "SIGTERM":
        os.kill(agent, signal.SIGTERM)
    else:
        assert await stop_agent(data)
    await eventually(lambda: not is_running(agent))
    assert not is_running(instance.pid)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*ground.listen.split(":"))
    with pytest.raises(PlatformUnavailableError):
        await running
    assert not await stop_agent(data)
    assert (await ground.sh("exit 0", stage="build")).lost


async def test_an_agent_whose_folder_is_gone_ends(ground: Ground, data: Path) -> None:
    await ground.prepare()
    await ground.platform.start(ground.effect(), sleeper())
    (instance,) = await ground.platform.instances(ground.target, "sleeper")
    agent = agent_of(data)
    shutil.rmtree(data)
    await eventually(lambda: not is_running(agent))
    assert not is_running(instance.pid)


async def test_an_agent_that_cannot_be_started_is_said_to_be_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PlatformUnavailableError, match="file"):
        await ProcessesPlatform(tmp_path / "file").routed("staging/web")


async def test_an_agent_that_fails_at_its_start_says_where_to_look(data: Path) -> None:
    (data / "agent").mkdir(parents=True)
    (data / "agent" / "fences.json").write_text("broken")
    with pytest.raises(PlatformUnavailableError, match=r"agent\.log"):
        await ProcessesPlatform(data).routed("staging/web")


async def test_an_address_in_use_is_said(ground: Ground) -> None:
    await ground.start("v1")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(ground.listen.partition(":")[2])))
        taken.listen()
        with pytest.raises(AddressTakenError, match="in use"):
            await ground.route(v1=10_000)
        # What was never routed can be taken back all the same.
        await ground.platform.route(ground.effect(), Route(ground.listen, {}))
    await ground.route(v1=10_000)
    ground.target = "staging/other"
    await ground.start("v2")
    with pytest.raises(InvalidError, match="serves staging/web already"):
        await ground.route(v2=10_000)


async def test_two_revisions_never_share_a_port(ground: Ground) -> None:
    await ground.prepare()
    revisions = [RevisionSpec(f"v{n}", "1", launch("sleep", "300"), 5) for n in range(4)]
    started = await asyncio.gather(
        *(ground.platform.start(ground.effect(), revision) for revision in revisions)
    )
    ports = [instance.port for instances in started for instance in instances]
    assert len(set(ports)) == 20


async def test_a_source_that_holds_the_data_folder_is_copied_without_it(
    ground: Ground, tmp_path: Path
) -> None:
    (tmp_path / "greeting").write_text("hello")
    await ground.prepare(tmp_path)
    assert (await ground.run("ls")).output == b"greeting\n"


async def test_a_device_or_pipe_in_the_source_is_refused(ground: Ground, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    os.mkfifo(source / "pipe")
    with pytest.raises(Exception, match="neither file, folder nor link"):
        await ground.prepare(source)
    assert not list((tmp_path / "data/agent/workspaces/.unfinished").iterdir())


async def test_copying_does_not_keep_others_waiting(ground: Ground, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(1_000):
        (source / f"{number}").write_bytes(b"x" * 2_000)
    copying = asyncio.create_task(ground.prepare(source))
    answered = 0
    while not copying.done():
        await ground.platform.routed(ground.target)
        answered += 1
    await copying
    assert answered > 3


async def test_what_is_forgotten_leaves_nothing_on_the_disk(ground: Ground, data: Path) -> None:
    await ground.prepare()
    await ground.sh("mkdir -p deep/er; touch deep/er/file; chmod -R a-w deep", stage="build")
    await ground.platform.stop(ground.effect("never"))
    running = asyncio.create_task(ground.run("sleep", "300", stage="long"))
    await ground.sh("true")
    await ground.platform.forget(ground.target, [DEPLOYMENT])
    assert (await ground.run("ls")).output == b"deep\n"
    await ground.platform.stop(ground.effect("long"))
    await running
    await ground.platform.forget(ground.target, [DEPLOYMENT])
    agent = data / "agent"
    left = [*(agent / "workspaces" / ground.target).iterdir()]
    left += [
        *(agent / "journal" / ground.target).iterdir(),
        *(agent / "workspaces/.unfinished").iterdir(),
    ]
    assert not left


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


CLIENT = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from shipslog.adapters.platforms.processes.platform import ProcessesPlatform
from tests.adapters.platforms.ground import Ground
ground = Ground(ProcessesPlatform(Path(sys.argv[1])), Path(sys.argv[1]))
asyncio.run(ground.sh(sys.argv[2], stage="build"))
"""


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])

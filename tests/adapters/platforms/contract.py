"""What every platform must do: a test class that each adapter's tests derive from.

The derived class gives the fixture `ground`.
"""

import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest

from shipslog.domain.errors import (
    FenceRefusedError,
    LedgerError,
    RefusedError,
    StateConflictError,
)
from shipslog.domain.event import Fence
from shipslog.domain.ports import Launch, RevisionSpec, Route

from .ground import DEPLOYMENT, Ground, get, launch, service, sleeper

MIB = 1024 * 1024


class PlatformContract:
    async def test_a_workspace_is_a_copy_of_its_source(
        self, ground: Ground, tmp_path: Path
    ) -> None:
        source = a_source(tmp_path)
        await ground.prepare(source)
        (source / "greeting").write_text("changed")
        ended = await ground.sh("cat greeting link; test -L link")
        assert (ended.exit_code, ended.output) == (0, b"hellohello")

    async def test_without_a_source_a_workspace_is_empty(self, ground: Ground) -> None:
        await ground.prepare()
        assert (await ground.run("ls", "-A")).output == b""

    async def test_preparing_again_changes_nothing(self, ground: Ground, tmp_path: Path) -> None:
        source = a_source(tmp_path)
        await asyncio.gather(*(ground.prepare(source) for _ in range(5)))
        await ground.sh("echo built > greeting")
        await ground.prepare(source)
        assert (await ground.run("cat", "greeting")).output == b"built\n"

    @pytest.mark.parametrize("points_to", ["../secret", "/etc/passwd", "inner/../../secret"])
    async def test_a_link_that_points_outside_is_refused(
        self, ground: Ground, tmp_path: Path, points_to: str
    ) -> None:
        source = a_source(tmp_path)
        (source / "inner").mkdir()
        (source / "outside").symlink_to(points_to)
        with pytest.raises(RefusedError, match="points outside"):
            await ground.prepare(source)
        ended = await ground.run("true")
        assert ended.error is not None

    async def test_a_source_that_is_missing_is_refused(
        self, ground: Ground, tmp_path: Path
    ) -> None:
        with pytest.raises(RefusedError, match="no folder"):
            await ground.prepare(tmp_path / "missing")

    async def test_a_command_tells_its_exit_code_and_what_it_printed(self, ground: Ground) -> None:
        await ground.prepare()
        ended = await ground.sh("echo out; echo err >&2; exit 3")
        assert (ended.exit_code, ended.signal, ended.timed_out) == (3, None, False)
        assert ended.output == b"out\nerr\n"
        assert (ended.truncated, ended.lost, ended.error) == (False, False, None)

    async def test_a_command_ended_by_a_signal_has_no_exit_code(self, ground: Ground) -> None:
        await ground.prepare()
        ended = await ground.sh("kill -SEGV $$")
        assert (ended.exit_code, ended.signal) == (None, 11)

    async def test_an_effect_key_starts_one_command_only(self, ground: Ground) -> None:
        await ground.prepare()
        script = "echo started >> count; cat count; sleep 0.2; exit 5"
        together = await asyncio.gather(*(ground.sh(script, stage="build") for _ in range(4)))
        later = await ground.sh(script, stage="build")
        assert {(e.exit_code, e.output) for e in (*together, later)} == {(5, b"started\n")}
        other = await ground.sh(script, stage="test")
        assert other.output == b"started\nstarted\n"

    async def test_a_command_ends_at_its_deadline_with_all_its_children(
        self, ground: Ground
    ) -> None:
        await ground.prepare()
        script = "echo begun; sleep 300 & (setsid sleep 300 &) ; sleep 300"
        async with asyncio.timeout(30):
            ended = await ground.sh(script, seconds=0.5)
        assert (ended.exit_code, ended.timed_out, ended.output) == (None, True, b"begun\n")

    async def test_a_command_that_ignores_sigterm_ends_at_deadline_and_grace(
        self, ground: Ground
    ) -> None:
        await ground.prepare()
        async with asyncio.timeout(30):
            ended = await ground.sh("trap '' TERM; while :; do sleep 1; done", seconds=0.5)
        assert (ended.timed_out, ended.signal) == (True, 9)

    async def test_a_stopped_command_ends(self, ground: Ground) -> None:
        await ground.prepare()
        running = asyncio.create_task(ground.sh("touch begun; exec sleep 300", stage="build"))
        await ground.sh("until test -e begun; do sleep 0.01; done")
        for _ in range(2):
            await ground.platform.stop(ground.effect("build"))
        assert (await running).signal == 15

    async def test_a_command_stopped_before_it_starts_never_starts(self, ground: Ground) -> None:
        await ground.prepare()
        await ground.platform.stop(ground.effect("build"))
        assert (await ground.sh("touch begun", stage="build")).error is not None
        assert (await ground.run("ls")).output == b""

    async def test_a_cancelled_call_leaves_the_command_running(self, ground: Ground) -> None:
        await ground.prepare()
        script = "touch begun; until test -e go; do sleep 0.01; done; echo done"
        call = asyncio.create_task(ground.sh(script, stage="build"))
        await ground.sh("until test -e begun; do sleep 0.01; done")
        call.cancel()
        await asyncio.wait([call])
        await ground.sh("touch go")
        assert (await ground.sh(script, stage="build")).output == b"done\n"

    async def test_arguments_are_passed_byte_for_byte(self, ground: Ground) -> None:
        await ground.prepare()
        plain = [
            "$(id)",
            "`id`",
            "{{7*7}}",
            "%s%n",
            "a b",
            "",
            "*",
            "é\u202e",
            "--",
            "{}",
            "{unknown}",
        ]
        show = "import json, sys; print(json.dumps(sys.argv[1:]))"
        assert json.loads((await ground.python(show, *plain)).output) == plain

    async def test_placeholders_are_filled_once(self, ground: Ground) -> None:
        await ground.prepare()
        effect = ground.effect()
        filled = launch("echo", "{version}", "x{service}y", version="{service}", service="$(id)")
        ended = await ground.platform.run(effect, filled)
        assert ended.output == b"{service} x$(id)y\n"
        where = await ground.run("sh", "-c", 'test "$1" = "$PWD"', "sh", "{workspace}")
        assert where.exit_code == 0

    async def test_the_environment_holds_what_was_declared_and_nothing_else(
        self, ground: Ground, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SHIPSLOG_TOKEN", "ours")
        monkeypatch.setenv("PROXY", "inherited")
        await ground.prepare()
        effect = ground.effect("build", fence=Fence(7, 3))
        argv = ("python", "-c", "import json, os; print(json.dumps(dict(os.environ)))")
        asked = Launch(argv, {}, DEPLOYMENT, env={"MODE": "fast"}, inherit=("PROXY", "UNSET"))
        env = json.loads((await ground.platform.run(effect, asked)).output)
        assert env.pop("LC_CTYPE", "C.UTF-8") == "C.UTF-8"
        assert set(env) == {
            *("PATH", "HOME", "LANG", "TMPDIR", "MODE", "PROXY"),
            *("SHIPSLOG_EFFECT_KEY", "SHIPSLOG_ATTEMPT", "SHIPSLOG_FENCE"),
        }
        assert (env["MODE"], env["PROXY"]) == ("fast", "inherited")
        assert env["SHIPSLOG_EFFECT_KEY"] == "d1/build/1"
        assert (env["SHIPSLOG_ATTEMPT"], env["SHIPSLOG_FENCE"]) == ("1", "7.3")

    @pytest.mark.parametrize(
        "argv",
        [
            ("no-such-program",),
            ("./here",),
            ("inner/../here",),
            ("..",),
            ("",),
            ("/etc/passwd",),
            ("{workspace}",),
            ("echo", "nul\0"),
            (),
        ],
    )
    async def test_a_command_that_cannot_be_started_says_why(
        self, ground: Ground, argv: tuple[str, ...]
    ) -> None:
        await ground.prepare()
        ended = await ground.run(*argv)
        assert ended.error
        assert (ended.exit_code, ended.signal) == (None, None)

    async def test_a_bare_program_is_looked_up_in_the_launch_s_path(self, ground: Ground) -> None:
        await ground.prepare()
        await ground.sh("mkdir bin; printf '#!/bin/sh\\necho mine' > bin/mine; chmod +x bin/mine")
        home = (await ground.sh("pwd")).output.decode().strip()
        asked = Launch(("mine",), {}, DEPLOYMENT, path=(f"{home}/bin", "/bin"))
        assert (await ground.platform.run(ground.effect(), asked)).output == b"mine\n"
        assert (await ground.run("mine")).error

    async def test_of_a_flood_the_first_mebibyte_is_kept(self, ground: Ground) -> None:
        await ground.prepare()
        ended = await ground.run("yes", seconds=1)
        assert ended.truncated
        assert len(ended.output) == MIB
        assert ended.output.startswith(b"y\ny\n")

    async def test_secrets_are_redacted(self, ground: Ground) -> None:
        await ground.prepare()
        argv = ("sh", "-c", "printf hun; sleep 0.1; echo ter2-$PASSWORD; echo hunter")
        asked = Launch(
            argv, {}, DEPLOYMENT, env={"PASSWORD": "hunter2"}, secrets=("hunter2", "hunter")
        )
        ended = await ground.platform.run(ground.effect(), asked)
        assert ended.output == b"***-***\n***\n"

    @pytest.mark.parametrize("is_announced", [False, True])
    async def test_a_lower_fence_is_refused_before_anything_is_done(
        self, ground: Ground, *, is_announced: bool
    ) -> None:
        await ground.prepare()
        new, old = Fence(9, 2), Fence(9, 1)
        if is_announced:
            for _ in range(2):
                await ground.platform.announce(ground.target, new)
        else:
            await ground.platform.prepare(ground.effect(fence=new), DEPLOYMENT, None)
        platform, late = ground.platform, ground.effect("late", fence=old)
        calls = [
            platform.announce(ground.target, old),
            platform.prepare(late, "other", None),
            platform.run(late, launch("touch", "late")),
            platform.stop(late),
            platform.start(late, sleeper()),
            platform.route(late, Route(ground.listen, {})),
            platform.retire(late, "sleeper", 0),
        ]
        for refused in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(refused, FenceRefusedError)
            assert "9.2" in str(refused)
        assert await platform.routed(ground.target) is None
        assert not await platform.instances(ground.target, "sleeper")
        listed = await platform.run(ground.effect("late", fence=new), launch("ls"))
        assert (listed.output, listed.error) == (b"", None)

    async def test_fences_are_kept_for_each_target_alone(self, ground: Ground) -> None:
        await ground.platform.stop(ground.effect(fence=Fence(9, 2)))
        ground.target = "staging/other"
        await ground.platform.stop(ground.effect(fence=Fence(1, 1)))

    async def test_what_was_stopped_before_it_arrives_has_no_effect(self, ground: Ground) -> None:
        await ground.prepare()
        platform, late = ground.platform, ground.effect("late")
        for _ in range(2):
            await platform.stop(late)
        calls = [
            platform.start(late, sleeper()),
            platform.route(late, Route(ground.listen, {})),
            platform.retire(late, "sleeper", 0),
        ]
        for refused in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(refused, StateConflictError)
            assert "d1/late/1 was stopped" in str(refused)
        assert await platform.routed(ground.target) is None
        assert not await platform.instances(ground.target, "sleeper")
        (one,) = await platform.start(ground.effect(), sleeper())
        assert one.alive

    async def test_a_start_that_is_stopped_on_its_way_leaves_nothing(self, ground: Ground) -> None:
        await ground.prepare()
        late = [ground.effect("late", deployment=f"d{n}") for n in range(4)]
        calls = [ground.platform.start(effect, sleeper()) for effect in late]
        starting = asyncio.gather(*calls, return_exceptions=True)
        await asyncio.gather(*(ground.platform.stop(effect) for effect in late))
        await ground.retire("sleeper")
        assert not await ground.platform.instances(ground.target, "sleeper")
        for outcome in await starting:
            assert not isinstance(outcome, BaseException) or isinstance(outcome, StateConflictError)

    async def test_a_revision_is_as_many_processes_on_ports_of_their_own(
        self, ground: Ground
    ) -> None:
        started = await ground.start("v1", capacity=3)
        assert len({instance.port for instance in started}) == 3
        answers = [await get(f"http://{one.host}:{one.port}/") for one in started]
        assert answers == [(200, "v1")] * 3
        assert await ground.platform.instances(ground.target, "v1") == started
        assert not await ground.platform.instances(ground.target, "v2")

    async def test_the_same_start_again_keeps_what_runs_and_leaves_what_ended(
        self, ground: Ground
    ) -> None:
        first, second = await ground.start("v1", capacity=2, stage="start")
        await ground.dies("v1", first)
        again = await ground.platform.start(ground.effect("start"), service("v1", 2))
        assert again[1] == second
        assert (again[0].alive, again[0].exit_code, again[0].pid) == (False, -9, first.pid)
        more = await ground.platform.start(ground.effect("start"), service("v1", 3))
        assert [instance.alive for instance in more] == [False, True, True]

    async def test_another_start_keeps_what_runs_and_replaces_what_ended(
        self, ground: Ground
    ) -> None:
        first, second = await ground.start("v1", capacity=2)
        await ground.dies("v1", first)
        kept, fresh = await ground.platform.start(ground.effect(), service("v1", 2))
        assert kept == second
        assert fresh.alive
        assert fresh.pid != first.pid
        assert await ground.platform.instances(ground.target, "v1") == [kept, fresh]

    async def test_what_is_started_while_it_is_retired_stays(self, ground: Ground) -> None:
        old = await ground.start("v1")
        await ground.route(v1=10_000)
        under_way = asyncio.create_task(get(f"{ground.url}/slow/3"))
        await ground.has_in_flight("v1")
        await ground.start("v2")
        await ground.route(v2=10_000)
        retiring = asyncio.create_task(ground.retire("v1"))
        # Whichever call comes first: the one that is answered last is a start.
        while not retiring.done():
            assert await ground.platform.start(ground.effect(), service("v1")) == old
        with pytest.raises(RefusedError, match="started again"):
            await retiring
        await ground.route(v1=10_000)
        assert await under_way == (200, "v1")
        assert await get(ground.url) == (200, "v1")

    async def test_an_instance_that_ends_says_how(self, ground: Ground) -> None:
        await ground.prepare()
        fails = RevisionSpec("v1", "1", launch("sh", "-c", "echo no port; exit 7"), 1)
        await ground.platform.start(ground.effect(), fails)
        (failed,) = await ground.has_ended("v1")
        assert (failed.alive, failed.exit_code, failed.detail) == (False, 7, "no port")

    async def test_an_instance_that_cannot_be_started_says_why(self, ground: Ground) -> None:
        await ground.prepare()
        missing = RevisionSpec("v1", "1", launch("no-such-program"), 1)
        (failed,) = await ground.platform.start(ground.effect(), missing)
        assert (failed.alive, failed.exit_code) == (False, 127)
        assert failed.detail
        assert "no-such-program" in failed.detail

    async def test_requests_are_shared_by_weight(self, ground: Ground) -> None:
        await asyncio.gather(ground.start("v1"), ground.start("v2"))
        assert await ground.platform.routed(ground.target) is None
        await ground.route(v1=7_500, v2=2_500)
        asked = Counter([(await get(ground.url))[1] for _ in range(200)])
        assert abs(asked["v2"] - 50) <= 2
        traffic = await ground.platform.traffic(ground.target)
        assert {name: counts.requests for name, counts in traffic.items()} == asked
        routed = await ground.platform.routed(ground.target)
        assert routed == Route(ground.listen, {"v1": 7_500, "v2": 2_500})

    async def test_traffic_counts_statuses_failures_and_latencies(self, ground: Ground) -> None:
        await ground.start("v1")
        await ground.route(v1=10_000)
        for path in ("", "/status/404", "/status/503", "/slow/0.2"):
            await get(ground.url + path)
        counts = (await ground.platform.traffic(ground.target))["v1"]
        assert (counts.requests, counts.failures, counts.in_flight) == (4, 1, 0)
        assert counts.statuses == {200: 2, 404: 1, 503: 1}
        assert set(counts.latency_ms) == {"p50", "p90", "p99"}
        assert 0 < counts.latency_ms["p50"] < 200

    async def test_an_empty_route_serves_nothing(self, ground: Ground) -> None:
        await ground.start("v1")
        await ground.route(v1=10_000)
        await ground.route()
        assert (await get(ground.url))[0] == 503

    @pytest.mark.parametrize(
        "weights", [{"v1": 9_999}, {"v1": 20_000, "v2": -10_000}, {"v3": 10_000}]
    )
    async def test_a_route_that_is_no_whole_is_refused(
        self, ground: Ground, weights: dict[str, int]
    ) -> None:
        await asyncio.gather(ground.start("v1"), ground.start("v2"))
        with pytest.raises(RefusedError):
            await ground.route(**weights)
        assert await ground.platform.routed(ground.target) is None

    async def test_a_retired_revision_finishes_what_it_has(self, ground: Ground) -> None:
        await asyncio.gather(ground.start("v1"), ground.start("v2"))
        await ground.route(v1=10_000)
        under_way = asyncio.create_task(get(f"{ground.url}/slow/1"))
        await ground.has_in_flight("v1")
        await ground.route(v2=10_000)
        await asyncio.gather(ground.retire("v1"), ground.retire("v1"))
        assert await under_way == (200, "v1")
        assert not await ground.platform.instances(ground.target, "v1")
        await ground.retire("v1")
        assert await get(ground.url) == (200, "v2")

    async def test_a_revision_that_is_routed_is_not_retired(self, ground: Ground) -> None:
        await ground.start("v1")
        await ground.route(v1=10_000)
        with pytest.raises(RefusedError, match="routed"):
            await ground.retire("v1")
        assert await get(ground.url) == (200, "v1")

    async def test_what_is_forgotten_is_gone_and_what_is_kept_stays(self, ground: Ground) -> None:
        for deployment in ("d1", "d2", "d3"):
            await ground.prepare(deployment=deployment)
        await ground.sh("echo first", stage="build")
        await ground.platform.forget(ground.target, ["d1", "d3", "never-there"])
        assert (await ground.run("true")).error
        for deployment, is_there in (("d2", True), ("d3", False)):
            asked = Launch(("true",), {}, deployment)
            outcome = await ground.platform.run(ground.effect(deployment=deployment), asked)
            assert (outcome.error is None) is is_there

    @pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "-rf", "x" * 300, "pr\u043ed"])
    async def test_names_that_lead_elsewhere_are_refused(self, ground: Ground, name: str) -> None:
        with pytest.raises(LedgerError):
            await ground.platform.prepare(ground.effect(), name, None)
        with pytest.raises(LedgerError):
            await ground.platform.forget(ground.target, [name])
        ground.target = f"staging/{name}"
        with pytest.raises(LedgerError):
            await ground.prepare()


def a_source(folder: Path) -> Path:
    source = folder / "source"
    source.mkdir()
    (source / "greeting").write_text("hello")
    (source / "link").symlink_to("greeting")
    return source

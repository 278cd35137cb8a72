"""asking: all checks of all addresses at once, each with its timeout and its attempts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from ..health import Check, CommandCheck, Health, HealthPolicy, HttpCheck, TcpCheck, sum_up
from ..ports import ProbeAnswer
from .work import Outcome, Work, describe, failed, succeeded


class Address(NamedTuple):
    """Where checks are asked."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `host:port`."""
        host, _, port = text.rpartition(":")
        return cls(host.strip("[]"), int(port))


class Report(NamedTuple):
    """The sum of all answers, and those that failed in words."""

    health: Health
    failures: tuple[str, ...]
    asked: int

    def judge(self, policy: HealthPolicy) -> Outcome:
        """Return success if there is as much health as the policy requires."""
        passed = self.asked - len(self.failures)
        sentence = f"{self.health.value}: {passed} of {self.asked} checks passed"
        if self.failures:
            sentence += "; " + "; ".join(self.failures[:3])
        if self.health.satisfies(policy.require):
            return succeeded(message=sentence)
        return failed(sentence)


async def ask(work: Work, policy: HealthPolicy, addresses: Sequence[Address]) -> Report:
    """Ask every check of every address at once and sum up the last answers."""
    questions = [(address, check) for address in addresses for check in policy.checks]
    answers = await asyncio.gather(
        *(
            _patiently(work, policy, address, check, n)
            for n, (address, check) in enumerate(questions)
        )
    )
    failures = tuple(
        f"{_name(check)} at {address.host}:{address.port}: {answer.detail}"
        for (address, check), answer in zip(questions, answers, strict=True)
        if not answer.passed
    )
    return Report(sum_up(answer.passed for answer in answers), failures, len(questions))


async def _patiently(
    work: Work, policy: HealthPolicy, address: Address, check: Check, number: int
) -> ProbeAnswer:
    attempt = 0
    while True:
        attempt += 1
        answer = await _once(work, policy, address, check, f"{number}-{attempt}")
        if answer.passed or attempt >= policy.attempts:
            return answer
        await work.outside.clock.sleep(policy.interval)


async def _once(
    work: Work, policy: HealthPolicy, address: Address, check: Check, name: str
) -> ProbeAnswer:
    probe = work.outside.probe
    match check:
        case HttpCheck():
            host = f"[{address.host}]" if ":" in address.host else address.host
            url = f"http://{host}:{address.port}{check.path}"
            return await probe.http(url, check.expect, policy.timeout)
        case TcpCheck():
            return await probe.tcp(address.host, check.port or address.port, policy.timeout)
        case CommandCheck():
            return await _command(work, check, address, policy.timeout, name)


async def _command(
    work: Work, check: CommandCheck, address: Address, timeout: float, name: str
) -> ProbeAnswer:
    begun = work.outside.clock.now()
    launch = work.launch(check.argv, {})
    launch = msgspec.structs.replace(launch, values={**launch.values, "port": str(address.port)})
    stamp = f"check-{begun.timestamp():.6f}-{name}"
    ended = await work.outside.platform.run(work.aside(stamp, timeout), launch)
    seconds = (work.outside.clock.now() - begun).total_seconds()
    passed = ended.exit_code == 0
    return ProbeAnswer(passed, "exited with 0" if passed else describe(ended, timeout), seconds)


def _name(check: Check) -> str:
    match check:
        case HttpCheck():
            return f"http {check.path}"
        case TcpCheck():
            return "tcp"
        case CommandCheck():
            return f"command {check.argv[0]}"

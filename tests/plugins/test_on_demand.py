"""A sandbox that nobody has asked for is not opened; one that is refused says so every time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from kproxy.plugins.layers import Layer
from kproxy.plugins.on_demand import OnDemand
from kproxy.plugins.sandbox import Outcome, SandboxRefused
from kproxy.plugins.source import PluginFailed


class Fake:
    """A sandbox that echoes."""

    layers = (Layer("process", True, ""),)

    async def run(self, code: str) -> Outcome:
        await trio.lowlevel.checkpoint()
        return Outcome(stdout=code)


class Opening:
    """How often it was opened and closed; `refusal` is raised instead."""

    def __init__(self, refusal: str | None = None) -> None:
        self.refusal = refusal
        self.opened = 0
        self.closed = 0

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[Any]:
        self.opened += 1
        await trio.lowlevel.checkpoint()
        if self.refusal:
            raise SandboxRefused(self.refusal)
        try:
            yield Fake()
        finally:
            self.closed += 1


async def test_it_opens_for_the_first_code_and_once(nursery: trio.Nursery) -> None:
    opening = Opening()
    sandbox = OnDemand(opening)
    nursery.start_soon(sandbox.hold)
    await wait_all_tasks_blocked()
    assert (opening.opened, sandbox.layers) == (0, ())
    said: list[str] = []

    async def run(code: str) -> None:
        said.append((await sandbox.run(code)).stdout)

    async with trio.open_nursery() as both:
        both.start_soon(run, "one")
        both.start_soon(run, "two")
    assert sorted(said) == ["one", "two"]
    assert (opening.opened, opening.closed) == (1, 0)
    assert sandbox.layers == Fake.layers


async def test_it_is_closed_with_its_holder() -> None:
    opening = Opening()
    sandbox = OnDemand(opening)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sandbox.hold)
        await sandbox.ready()
        nursery.cancel_scope.cancel()
    assert opening.closed == 1


async def test_a_refusal_is_told_to_all(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox = OnDemand(Opening("seccomp: the kernel has none"))
    nursery.start_soon(sandbox.hold)
    with pytest.raises(SandboxRefused, match="seccomp"):
        await sandbox.ready()
    for _ in range(2):
        with pytest.raises(PluginFailed, match="does not hold"):
            await sandbox.run("1")
    assert caplog.text.count("seccomp: the kernel has none") == 1

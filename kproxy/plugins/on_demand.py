"""Code in, its outcome out: a sandbox that is opened when the first code comes.

To open a sandbox is to start a child and to try every layer, which takes a second or more. Who
never asks for code-exec should not pay for it, and an operator who insists on it should hear of a
broken layer at the start. So `hold` runs as long as the process does and opens it when it is first
wanted; `ready` is for who wants it at once.
"""

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

import trio

from kproxy.plugins.layers import Layer
from kproxy.plugins.settings import SandboxRefused
from kproxy.plugins.source import PluginFailed

if TYPE_CHECKING:
    from kproxy.plugins.sandbox import Outcome, Sandbox

__all__ = ["OnDemand"]

log = logging.getLogger("kproxy.plugins")

REFUSED = "the sandbox does not hold here"


class OnDemand:
    """A `code_exec.Runner`. `opening` makes the sandbox; see `sandbox.open_sandbox`."""

    def __init__(self, opening: Callable[[], AbstractAsyncContextManager["Sandbox"]]) -> None:
        self._opening = opening
        self._wanted = trio.Event()
        self._settled = trio.Event()
        self._sandbox: Sandbox | None = None
        self._refusal: SandboxRefused | None = None

    def __repr__(self) -> str:
        return f"<OnDemand {self._sandbox or self._refusal or 'not opened'}>"

    @property
    def layers(self) -> tuple[Layer, ...]:
        """What was found to hold, and what not; nothing where it was not opened yet."""
        return () if self._sandbox is None else self._sandbox.layers

    async def hold(self) -> None:
        """Open it when it is wanted, and keep it until cancelled."""
        await self._wanted.wait()
        try:
            async with self._opening() as sandbox:
                self._sandbox = sandbox
                self._settled.set()
                await trio.sleep_forever()
        except SandboxRefused as refusal:
            log.error("code-exec: %s", refusal)
            self._refusal = refusal
            self._settled.set()

    async def ready(self) -> "Sandbox":
        """The open sandbox. Raises SandboxRefused."""
        self._wanted.set()
        await self._settled.wait()
        if self._sandbox is None:
            raise self._refusal or SandboxRefused(REFUSED)
        return self._sandbox

    async def run(self, code: str) -> "Outcome":
        """See `Sandbox.run`. Raises PluginFailed where there is no sandbox."""
        try:
            sandbox = await self.ready()
        except SandboxRefused as refusal:
            raise PluginFailed(REFUSED) from refusal
        return await sandbox.run(code)

"""The configured plugins in, what requests may ask for out, for as long as the process serves.

What needs a service of somebody else's is there where the configuration names it; what needs a
library, where that is installed. Nothing is loaded, fetched or started for a plugin before the
first request for it, but for code-exec where the operator insists on it (`enabled = true`): then
kproxy does not start unless its sandbox holds.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

import trio

from kproxy.api.memories import memory_plugin
from kproxy.api.plugged import Finder, Plugins, Reader, Tool
from kproxy.api.workers import (
    Fetching,
    code_plugin,
    gutenberg_plugin,
    image_plugin,
    pdf_plugin,
    search_plugin,
)
from kproxy.config import Config
from kproxy.config.plugins import plugin_params, sandbox_params
from kproxy.plugins.settings import SandboxParams, SandboxRefused
from kproxy.store.memories import Memories
from kproxy.transport.hub import Hub

if TYPE_CHECKING:
    from kproxy.plugins.sandbox import Sandbox
    from kproxy.transport.fetch import Fetcher

__all__ = ["open_plugins"]

OPENING = 30.0
"""Seconds for the sandbox to be opened, behind the first code that comes."""

Offered = dict[str, Finder | Reader | Tool]


@asynccontextmanager
async def open_plugins(
    config: Config, hub: Hub, memories: Memories, unix_now: Callable[[], float]
) -> AsyncIterator[Plugins]:
    """Everything that is offered. Raises SandboxRefused. No child is left behind."""
    offered = _offered(config, hub)
    memory = config.plugins.memory
    if memory.enabled:
        offered["memory"] = memory_plugin(memories, memory.seconds, memory.bytes, unix_now)
    params, rounds = (
        sandbox_params(config.plugins.code_exec, config.data_dir),
        config.plugins.rounds,
    )
    if params is None:
        yield Plugins(offered, rounds)
        return
    # Imported where it is switched on.
    from kproxy.plugins.code_exec import CodeExec, tool
    from kproxy.plugins.on_demand import OnDemand

    sandbox = OnDemand(partial(_sandbox, params))
    code = CodeExec(sandbox, 2 * params.output_bytes)
    offered["code-exec"] = code_plugin(
        tool(params.tier, params.seconds), code.call, _longest(params), 2 * params.output_bytes
    )
    refusal = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sandbox.hold)
        try:
            if config.plugins.code_exec.enabled:
                await sandbox.ready()
        except SandboxRefused as error:
            refusal = error  # raised by itself below, not in a group
        else:
            yield Plugins(offered, rounds, lambda: sandbox.layers)
        nursery.cancel_scope.cancel()
    if refusal is not None:
        raise refusal


@asynccontextmanager
async def _sandbox(params: SandboxParams) -> AsyncIterator["Sandbox"]:
    """Raises SandboxRefused."""
    # In a thread: what it takes to start a child takes 40 ms to import.
    await trio.to_thread.run_sync(import_module, "kproxy.plugins.sandbox")
    from kproxy.plugins.sandbox import open_sandbox

    async with open_sandbox(params) as sandbox:
        yield sandbox


def _longest(params: SandboxParams) -> float:
    """Seconds that one call may take, with all that it may have to wait for."""
    return params.seconds + params.wait + OPENING


def _offered(config: Config, hub: Hub) -> Offered:
    """What fetches or reads."""
    params = plugin_params(config.plugins, config.data_dir)
    fetching, offered = _fetching(hub), Offered()
    if params.web_search is not None:
        offered["web-search"] = search_plugin(fetching, params.web_search)
    if params.gutenberg is not None:
        offered["gutenberg"] = gutenberg_plugin(fetching, params.gutenberg)
    if params.image_gen is not None:
        offered["image-gen"] = image_plugin(fetching, params.image_gen)
    if params.pdf_reader is not None and find_spec("pypdf") is not None:
        offered["pdf-reader"] = pdf_plugin(fetching, params.pdf_reader)
    return offered


def _fetching(hub: Hub) -> Fetching:
    """One fetcher for all, made for the first that fetches."""

    @cache
    def fetching() -> "Fetcher":
        from kproxy.transport.fetch import Fetcher, dialler_on_demand

        return Fetcher(dialler_on_demand(hub))

    return fetching

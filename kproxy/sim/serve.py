"""Simulated providers as a server: parameters and listening sockets in, served until cancelled.

Two ways in. `serve` runs inside another program, behind a real loopback socket: this is how
`kproxy serve` plays its default providers. `run` is the process of its own behind `kproxy sim`.
"""

import signal
import socket
from collections.abc import Callable, Sequence

import trio

from kproxy.sim.params import SimParams
from kproxy.sim.provider import Provider
from kproxy.sim.server import Connection
from kproxy.transport.accept import AcceptLimits, Acceptor, open_listeners
from kproxy.transport.entry import Bound
from kproxy.transport.hub import Hub
from kproxy.transport.link import Link

__all__ = ["run", "serve"]

_LIMITS = AcceptLimits(100_000, 100_000)  # the descriptor limit of the process comes first


async def serve(
    params: SimParams,
    listeners: Sequence[socket.socket],
    hub: Hub | None = None,
    task_status: trio.TaskStatus[Provider] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer everything that connects to `listeners`, until cancelled; they are closed then.

    `hub` is one that runs already; None makes one. The started value knows the figures that
    `/sim/stats` shows. With the fault `refuse` configured for everything the listeners are closed
    at once, and nothing answers at their address.
    """
    provider = Provider(params, trio.current_time())
    if any(fault.name == "refuse" for fault in params.rules().get("*", ())):
        for listener in listeners:
            listener.close()
        task_status.started(provider)
        await trio.sleep_forever()
    if hub is not None:
        await _accept(provider, listeners, hub, task_status)
        return
    own = Hub()
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(own.run)
            await _accept(provider, listeners, own, task_status)
    finally:
        own.close()


async def _accept(
    provider: Provider,
    listeners: Sequence[socket.socket],
    hub: Hub,
    task_status: trio.TaskStatus[Provider],
) -> None:
    async def handle(link: Link) -> None:
        await Connection(link, hub, provider).serve()

    async with trio.open_nursery() as nursery:
        bound = [Bound(one) for one in listeners]
        await nursery.start(Acceptor(hub, bound, _LIMITS).serve, handle)
        task_status.started(provider)


def run(
    host: str, port: int, params: SimParams, announce: Callable[[tuple[str, int]], None]
) -> None:
    """Serve until SIGTERM or SIGINT; both are a good end.

    `announce` is called once with the address, when connections are accepted. Raises OSError where
    the address cannot be had.
    """
    trio.run(_main, open_listeners(host, port), params, announce)


async def _main(
    listeners: Sequence[socket.socket],
    params: SimParams,
    announce: Callable[[tuple[str, int]], None],
) -> None:
    host, port = listeners[0].getsockname()[:2]
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            await nursery.start(serve, params, listeners)
            announce((host, port))
            async for _ in signals:
                nursery.cancel_scope.cancel()

"""A `Fetcher` for tests: with real sockets, or with a resolver and a dialler of the test's own.

Names have the addresses that the test gives them, and public addresses are played by servers on
loopback: `Internet` keeps both, and what was looked up and dialled. What is not in it is not there.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kproxy.errors import Fault, FaultKind
from kproxy.transport.dial import Dial, Origin
from kproxy.transport.duplex import Duplex
from kproxy.transport.fetch import Fetcher, dialler_on_demand
from tests.fakes.hubbed import hubbed

__all__ = ["Internet", "fetching"]


class Internet:
    """`names` to their addresses (one list per look-up, the last one stays), `hosts` to ports."""

    def __init__(self, dial: Dial) -> None:
        self._dial = dial
        self.names: dict[str, list[list[str]]] = {}
        self.hosts: dict[tuple[str, int], int] = {}
        self.looked_up: list[str] = []
        self.dialled: list[Origin] = []

    def has(self, name: str, address: str, port: int, *, at: int = 80) -> None:
        """`name` has one address, and port `at` there is `port` on loopback."""
        self.names[name] = [[address]]
        self.hosts[address, at] = port

    async def resolve(self, name: str, port: int) -> list[str]:
        self.looked_up.append(name)
        answers = self.names.get(name)
        if not answers:
            raise OSError("no such name")
        return answers.pop(0) if len(answers) > 1 else answers[0]

    async def dial(self, origin: Origin, deadline: float) -> Duplex:
        self.dialled.append(origin)
        if origin.host == "127.0.0.1":
            return await self._dial(origin, deadline)
        port = self.hosts.get((origin.host, origin.port))
        if port is None:
            raise Fault(FaultKind.CONNECT, "connection refused or unreachable")
        return await self._dial(Origin("127.0.0.1", port, origin.tls, origin.known_as), deadline)


@asynccontextmanager
async def fetching() -> AsyncIterator[tuple[Fetcher, Internet]]:
    """A fetcher in that internet. The loopback interface is dialled for real."""
    async with hubbed() as (hub, _):
        internet = Internet(dialler_on_demand(hub))
        yield Fetcher(internet.dial, internet.resolve), internet

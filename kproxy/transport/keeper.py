"""Tasks that outlive whoever begins them: something to run in, somebody who owns it.

A connection that many requests share is opened by the first of them and may not end with it.
"""

from typing import Protocol

import trio

__all__ = ["Keeper", "Kept"]


class Kept(Protocol):
    """What is run in a task of its own."""

    async def run(self) -> None:
        """Its whole life. Raises nothing."""


class Keeper:
    """Owner of those tasks. `run` must be running for `keep` to return."""

    def __init__(self) -> None:
        # 0: nothing waits in it, who hands something over waits instead
        self._send, self._receive = trio.open_memory_channel[Kept](0)

    async def keep(self, one: Kept) -> None:
        """Hand it over; it is not run where this is cancelled."""
        await self._send.send(one)

    async def run(self) -> None:
        """Run everything until cancelled; all of it is cancelled then."""
        async with trio.open_nursery() as tasks:
            async for one in self._receive:
                tasks.start_soon(one.run)

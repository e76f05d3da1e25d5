"""SIGHUP in; the configuration read anew, checked and put in force, or the old one kept.

Reading and building take tens of milliseconds and happen in a thread, beside what is in force. Only
when everything is there does it change places with the old, in one step between two requests. A bad
file changes nothing at all, and the log says which line of it is wrong; one that amounts to what is
in force (a comment, another order) changes nothing either.
"""

import logging
from collections.abc import Callable
from typing import NoReturn

import trio

from kproxy.api.service import Service
from kproxy.assembly import Assembly, draw
from kproxy.config import Config
from kproxy.config.change import differing, settle
from kproxy.endpoints import plays
from kproxy.errors import KproxyError

__all__ = ["Reload"]

log = logging.getLogger("kproxy.reload")


class Reload:
    """The task behind SIGHUP. `reread` blocks, and raises ConfigError; `put` gives the new service
    to whoever answers requests, synchronously. `run` must be running for `ask` to do anything."""

    def __init__(
        self,
        assembly: Assembly,
        reread: Callable[[], Config],
        put: Callable[[Service, Config], None],
    ) -> None:
        self._assembly = assembly
        self._reread = reread
        self._put = put
        self._asked = trio.Event()
        self.refused = 0  # configurations that were not put in force

    def __repr__(self) -> str:
        return f"<Reload of {self._assembly!r}, {self.refused} refused>"

    def ask(self) -> None:
        """Look now, and if a look is under way once more after it."""
        self._asked.set()

    async def run(self) -> NoReturn:
        """Look whenever asked; ends by cancellation."""
        async with trio.open_nursery() as players:
            while True:
                await self._asked.wait()
                self._asked = trio.Event()
                await self.look(players)

    async def look(self, players: trio.Nursery) -> None:
        """Read it, and put it in force where it is another one and a good one. Raises nothing.

        Simulated providers that were not there before live in `players`, as long as the process.
        """
        try:
            await self._look(players)
        except KproxyError as error:
            self.refused += 1
            log.error("the configuration in force stays: %s", error)
        except Exception:
            # The last resort: a fault of ours must not end what is being served.
            self.refused += 1
            log.exception("the configuration in force stays")

    async def _look(self, players: trio.Nursery) -> None:
        assembly = self._assembly
        wanted = await trio.to_thread.run_sync(self._reread)
        config, waiting = settle(assembly.config, wanted)
        if waiting:
            log.warning("needs a restart and stays as it is: %s", ", ".join(waiting))
        changed = differing(assembly.config, config)
        if not changed:
            log.warning("the configuration amounts to what is in force")
            return
        endpoints = assembly.endpoints
        if plays(config) and not endpoints.sim_url:
            await endpoints.play(config.sim, players)
        draft = await trio.to_thread.run_sync(draw, config, endpoints)
        self._put(assembly.adopt(draft), config)
        log.warning("configuration %d is in force: %s", assembly.generation, ", ".join(changed))
        if "tiers" in changed:
            await assembly.name_left_out()

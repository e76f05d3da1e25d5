"""Memories without a thread, so that a virtual clock stands still meanwhile."""

from collections.abc import Callable
from typing import TypeVar

import trio

from kproxy.store.database import Database
from kproxy.store.memories import Memories

__all__ = ["Inline"]

Value = TypeVar("Value")


class Inline(Memories):
    """The real store, asked on the loop."""

    async def _ask(self, question: Callable[[Database], Value]) -> Value:
        await trio.lowlevel.checkpoint()
        return question(self._opened())

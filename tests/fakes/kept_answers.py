"""Kept answers in memory, without a thread, so that a virtual clock stands still meanwhile.

Several of one `Shelf` are several processes of one data directory.
"""

from dataclasses import dataclass, field

import trio

from kproxy.schema.receipt import Receipt
from kproxy.store.answers import Kept

__all__ = ["Answered", "Shelf"]


@dataclass
class Shelf:
    """What all processes see: answers, receipts in the order in which they came, claims."""

    kept: dict[bytes, Kept] = field(default_factory=dict)
    receipts: list[Receipt] = field(default_factory=list)
    claims: dict[bytes, "Answered"] = field(default_factory=dict)


class Answered:
    """One process's view of a shelf. `trouble` is raised by whatever looks or keeps."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self.full = False
        self.trouble: Exception | None = None

    def claim(self, name: bytes) -> bool:
        return self.shelf.claims.setdefault(name, self) is self

    def release(self, name: bytes) -> None:
        assert self.shelf.claims.pop(name) is self

    async def find(self, name: bytes, now: float) -> Kept | None:
        await self._turn()
        return self.shelf.kept.get(name)

    async def keep(self, name: bytes, kept: Kept, receipt: Receipt, now: float) -> None:
        await self._turn()
        self.shelf.kept[name] = kept
        self.shelf.receipts.append(receipt)

    async def _turn(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.trouble is not None:
            raise self.trouble

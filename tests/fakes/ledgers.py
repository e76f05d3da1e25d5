"""A ledger and limits in memory, for a house without a data directory.

In: receipts and reservations. Out: what was kept, and which reservations are still held.
"""

from collections.abc import Callable

import trio

from kproxy.admission.quota import Amount
from kproxy.admission.ratelimit import RateParams, Verdict, decide
from kproxy.admission.tiers import Tier
from kproxy.schema.receipt import Receipt

__all__ = ["Memory", "NoLimits", "Reserved"]


class Memory:
    """A journal. `refuse` makes `append` raise; `sync` is how long `durable` takes."""

    def __init__(self, receipts: list[Receipt]) -> None:
        self.receipts = receipts
        self.healthy = True
        self.strict = False
        self.sync = 0.0
        self.refuse: Callable[[], None] = lambda: None
        self.durables: list[tuple[float, int]] = []  # when, and how many receipts there were

    def append(self, receipt: Receipt) -> None:
        self.receipts.append(receipt)
        self.refuse()

    async def durable(self) -> None:
        await trio.sleep(self.sync)
        self.durables.append((trio.current_time(), len(self.receipts)))


class Reserved:
    """One reservation; ended twice it fails."""

    standing = None

    def __init__(self, limits: "NoLimits", asked: Amount) -> None:
        self._limits = limits
        self.asked = asked
        limits.held.append(self)
        limits.asked.append(asked)

    def settle(self, used: Amount) -> None:
        self._limits.held.remove(self)
        self._limits.settled.append(used)

    def release(self) -> None:
        self._limits.held.remove(self)
        self._limits.released += 1


class NoLimits:
    """Nobody is refused, but what is held is remembered."""

    def __init__(self) -> None:
        self.held: list[Reserved] = []
        self.asked: list[Amount] = []
        self.settled: list[Amount] = []
        self.released = 0
        self._tat: dict[str, int] = {}

    def take(self, account_id: str, rate: RateParams | None, now_ns: int) -> Verdict | None:
        if rate is None:
            return None
        verdict = decide(self._tat.get(account_id, 0), now_ns, rate)
        self._tat[account_id] = verdict.tat_ns
        return verdict

    def reserve(self, account_id: str, tier: Tier, asked: Amount, now: float) -> Reserved:
        return Reserved(self, asked)

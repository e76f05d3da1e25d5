"""Requests of an account in, whether its limits let them in out; for all workers of a machine.

The policy is in `admission/ratelimit.py` and `admission/quota.py`, the sharing in `cells.py`; here
the two meet. On the request path, all of it without waiting for anything:

1. `take` on the head: one request of the rate.
2. `reserve` before anything is dispatched: what the request may use at most.
3. `settle` with what it used, or `release`, exactly once. A second call raises ReservationEnded.

A request belongs to the month in which it was admitted. What it uses after the turn of the month is
in the ledger's rows of the old one, and in no counter. Trial credit knows no month.

The rate's times are CLOCK_BOOTTIME's: it is the same for all processes, is not set by anybody, and
runs on while a laptop sleeps. A wall clock that is set back by an hour would refuse everybody for
an hour. The month is the wall clock's, and never goes back for an account.

The counters start from the ledger's sums whenever no other process has them open; rates start anew,
which may let a burst in twice over a restart. A worker that is killed between the ledger's row and
`settle` leaves that request uncounted until then; the ledger is right throughout.
"""

from array import array
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from kproxy.admission.quota import NOTHING, Amount, Event, State, admit, is_limited, step
from kproxy.admission.ratelimit import RateParams, Verdict, decide
from kproxy.admission.standing import Standing
from kproxy.admission.tiers import Tier
from kproxy.errors import Rejected
from kproxy.store.cells import COLUMNS, MONTH, SPEND, TAT, TOKENS, Cells, Slot
from kproxy.store.month import Month, month_at

__all__ = ["Counters", "Reservation", "Used", "open_counters"]

_MOST = 1 << 62  # a sum that would not fit stops here, far above any limit
_SECOND = 1_000_000_000


class Used(NamedTuple):
    """The ledger's sums for an account, by the measure of `quota.counted`.

    `tokens` are those of the month, `spend` is nano-dollars since the account was made.
    """

    account_id: str
    tokens: int
    spend: int


class Reservation:
    """What a request may use. `standing` is the month's tokens with it reserved, None: no limit."""

    __slots__ = ("_amount", "_counters", "_month", "_slot", "_state", "standing")

    def __init__(
        self,
        counters: "Counters",
        slot: Slot | None,
        month: int,
        amount: Amount,
        standing: Standing | None,
    ) -> None:
        self._counters = counters
        self._slot = slot  # None: nothing is counted
        self._month = month
        self._amount = amount
        self._state = State.HELD
        self.standing = standing

    def __repr__(self) -> str:
        return f"<Reservation {self._state.name} {self._amount}>"

    def settle(self, used: Amount) -> None:
        """Count what was used instead of what was reserved; it may be more."""
        self._end(Event.SETTLE, used)

    def release(self) -> None:
        """Count nothing: the request was refused, or failed."""
        self._end(Event.RELEASE, NOTHING)

    def _end(self, event: Event, used: Amount) -> None:
        self._state = step(self._state, event)
        if self._slot is not None:
            self._counters._replace(self._slot, self._month, self._amount, used)


class Counters:
    """The counters of one data directory, as one worker process sees them. `close()` ends it.

    Raises StoreError for an account whose slot cannot be made.
    """

    def __init__(self, cells: Cells, now: float) -> None:
        self._cells = cells
        self._used = 2 * cells.column  # our column within the words of either kind
        self._month = month_at(now)

    def __repr__(self) -> str:
        return f"<Counters {self._cells!r}>"

    @property
    def unlocked(self) -> int:
        """How often an account was changed without its lock: for the metrics; 0 is healthy."""
        return self._cells.unlocked

    def take(self, account_id: str, rate: RateParams | None, now_ns: int) -> Verdict | None:
        """Take one request of the account's rate; None where there is no rate.

        `now_ns` is CLOCK_BOOTTIME. All keys of an account share its rate.
        """
        if rate is None:
            return None
        slot = self._cells.slot(account_id)
        at = slot.base + TAT
        self._cells.lock(slot)
        try:
            verdict = decide(slot.words[at], now_ns, rate)
            if verdict.allowed:
                slot.words[at] = verdict.tat_ns
        finally:
            self._cells.unlock(slot)
        return verdict

    def reserve(self, account_id: str, tier: Tier, asked: Amount, now: float) -> Reservation:
        """Reserve what a request may use. `now` is Unix seconds.

        Raises Rejected 429 `insufficient_quota`; never because of what a dead worker has reserved.
        Whoever calls this calls `settle` or `release` on the result.
        """
        if not is_limited(tier):
            return Reservation(self, None, 0, asked, None)
        month = self._month_at(now)
        slot = self._cells.slot(account_id)
        reset_ns = int((month.end - now) * _SECOND)
        try:
            return self._reserve(slot, tier, asked, month.number, reset_ns)
        except Rejected:
            if not self._cells.recover():
                raise
            return self._reserve(slot, tier, asked, month.number, reset_ns)

    def recover(self) -> int:
        """Clear what dead workers had reserved; how many they were. For whoever sees one die."""
        return self._cells.recover()

    def rebuild(self, month: int, used: Used) -> None:
        """Make the ledger's sums what the account has used. Nothing when the month is past.

        Exact only while no request of the account is on its way.
        """
        slot = self._cells.slot(used.account_id)
        self._cells.lock(slot)
        try:
            if self._turn(slot, month) != month:
                return
            for kind, total in ((TOKENS, used.tokens), (SPEND, used.spend)):
                first = slot.base + kind
                others = sum(slot.words[first : first + 2 * self._cells.columns : 2])
                ours = first + self._used
                slot.words[ours] = min(total, _MOST) - (others - slot.words[ours])
        finally:
            self._cells.unlock(slot)

    def close(self) -> None:
        """Give the file back. What is still reserved counts no longer."""
        self._cells.close()

    def _reserve(
        self, slot: Slot, tier: Tier, asked: Amount, month: int, reset_ns: int
    ) -> Reservation:
        words, base = slot.words, slot.base
        columns = 2 * self._cells.columns
        self._cells.lock(slot)
        try:
            month = self._turn(slot, month)
            tokens, spend = base + TOKENS, base + SPEND
            taken = Amount(
                sum(words[tokens : tokens + columns]), sum(words[spend : spend + columns])
            )
            standing = admit(tier, taken, asked, reset_ns)
            words[tokens + self._used + 1] += asked.tokens
            words[spend + self._used + 1] += asked.spend
        finally:
            self._cells.unlock(slot)
        return Reservation(self, slot, month, asked, standing)

    def _replace(self, slot: Slot, month: int, held: Amount, used: Amount) -> None:
        """Used first, reserved second: killed in between, what was used stays counted once."""
        words = slot.words
        tokens = slot.base + TOKENS + self._used
        spend = slot.base + SPEND + self._used
        self._cells.lock(slot)
        try:
            current = words[slot.base + MONTH] == month
            if current:
                words[tokens] = min(words[tokens] + used.tokens, _MOST)
            words[spend] = min(words[spend] + used.spend, _MOST)
            if current:
                words[tokens + 1] -= held.tokens
            words[spend + 1] -= held.spend
        finally:
            self._cells.unlock(slot)

    def _turn(self, slot: Slot, month: int) -> int:
        """The month that the slot is in, after it has moved on to this one if that is later."""
        words, at = slot.words, slot.base + MONTH
        if words[at] >= month:
            return words[at]
        first = slot.base + TOKENS
        words[first : first + 2 * COLUMNS] = memoryview(array("q", bytes(16 * COLUMNS)))
        words[at] = month  # last: killed before it, the next one begins again
        return month

    def _month_at(self, now: float) -> Month:
        if not self._month.start <= now < self._month.end:
            self._month = month_at(now)
        return self._month


def open_counters(
    directory: Path, totals: Callable[[Month], Iterable[Used]], now: float
) -> Counters:
    """Join the counters of a data directory that exists; the caller closes the result.

    `now` is Unix seconds. When no other process has them open, they start from `totals`, which is
    called once, and for which others that open them wait. Raises StoreError, and what it raises.
    """
    with ExitStack() as stack:
        cells = Cells(directory)
        stack.callback(cells.close)
        counters = Counters(cells, now)
        if cells.first:
            month = month_at(now)
            for used in totals(month):
                counters.rebuild(month.number, used)
        cells.opened()
        stack.pop_all()
    return counters

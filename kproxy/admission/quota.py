"""What an account has used and what a request may use in, admitted or a 429 out.

1. Two budgets (contract section 11): the month's tokens, and the trial credit, which is money
   spent on the operator's provider keys. `counted` says what of a request counts against which.
2. A request is admitted if what is used, what others have reserved and what it may use itself
   stay within the limit together. So only a request that uses more than it reserved can pass it.
3. A reservation is HELD until it is SETTLED with what was used or RELEASED. `step` is the only
   way from one state to the next, and its table is total.
4. The month is the calendar's in UTC. Trial credit is given once: no month brings it back.
"""

import enum
from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from kproxy.admission.standing import Standing, limit_fields, retry_fields
from kproxy.admission.tiers import Tier
from kproxy.errors import Rejected
from kproxy.money import PER_MILLION, format_usd, round_half_up

__all__ = [
    "NOTHING",
    "Amount",
    "Event",
    "ReservationEnded",
    "State",
    "admit",
    "counted",
    "is_limited",
    "overage_cost",
    "step",
]

# Above any request, and so far below 2**63 that 10,000 of them fit into one counter.
_MOST_TOKENS = 2**40
_MOST_SPEND = 2**48  # nano-dollars: 281,000 USD


class Amount(msgspec.Struct, frozen=True):
    """Tokens that count against the month, nano-dollars that count against the trial credit."""

    tokens: int
    spend: int


NOTHING = Amount(0, 0)


class State(enum.IntEnum):
    """Where a reservation is."""

    HELD = 0
    SETTLED = 1
    RELEASED = 2


class Event(enum.IntEnum):
    """What can happen to a reservation."""

    SETTLE = 0
    RELEASE = 1


STEPS: Mapping[tuple[State, Event], State | None] = MappingProxyType(
    {
        (State.HELD, Event.SETTLE): State.SETTLED,
        (State.HELD, Event.RELEASE): State.RELEASED,
        (State.SETTLED, Event.SETTLE): None,
        (State.SETTLED, Event.RELEASE): None,
        (State.RELEASED, Event.SETTLE): None,
        (State.RELEASED, Event.RELEASE): None,
    }
)
"""State and event to the next state; None is refused."""


class ReservationEnded(RuntimeError):
    """A reservation was ended a second time: a mistake of the program, not of a caller."""


def step(state: State, event: Event) -> State:
    """The state after the event. Raises ReservationEnded where there is none."""
    after = STEPS[state, event]
    if after is None:
        raise ReservationEnded(f"a reservation that is {state.name} cannot {event.name}")
    return after


def counted(tier: Tier, tokens: int, cost: int, *, managed: bool) -> Amount:
    """What of an attempt counts. `managed`: on the operator's key, not on one of the caller's own.

    `cost` is nano-dollars. On own keys only tokens count. On managed keys the cost counts, and the
    tokens as well, except in a tier with trial credit, which pays for them.
    """
    tokens = min(max(0, tokens), _MOST_TOKENS)
    if not managed:
        return Amount(tokens, 0)
    return Amount(tokens if tier.trial_credit is None else 0, min(max(0, cost), _MOST_SPEND))


def is_limited(tier: Tier) -> bool:
    """Whether there is anything to count for this tier."""
    return tier.tokens_per_month is not None or tier.trial_credit is not None


def admit(tier: Tier, taken: Amount, asked: Amount, reset_ns: int) -> Standing | None:
    """How the month's tokens stand with `asked` reserved; None where they have no limit.

    `taken` is used and reserved by others, `reset_ns` the time to the month's end. Raises Rejected
    429 `insufficient_quota`, which names both.
    """
    limit = tier.tokens_per_month
    after = taken.tokens + asked.tokens
    if limit is not None and tier.ends_hard and asked.tokens and after > limit:
        left = max(0, limit - taken.tokens)
        raise _rejected(
            f"You exceeded your current quota: this request may use {asked.tokens} tokens, and "
            f"{left} of this month's {limit} are left. The next month (UTC) starts anew.",
            reset_ns,
            Standing(limit, left, reset_ns),
        )
    credit = tier.trial_credit
    if credit is not None and asked.spend and taken.spend + asked.spend > credit:
        left = max(0, credit - taken.spend)
        raise _rejected(
            f"You exceeded your current quota: this request may cost {format_usd(asked.spend)} "
            f"USD, and {format_usd(left)} of your trial credit of {format_usd(credit)} USD are "
            "left. Use provider keys of your own, or a paid tier.",
            reset_ns,
            None,
        )
    if limit is None:
        return None
    return Standing(limit, max(0, limit - after), reset_ns)


def overage_cost(tier: Tier, tokens: int) -> int:
    """What the month's tokens cost beyond those of the tier, in nano-dollars, rounded once.

    0 where the tier sells none: with a hard end, or without a limit.
    """
    if tier.tokens_per_month is None or tier.overage_price is None:
        return 0
    return round_half_up(max(0, tokens - tier.tokens_per_month) * tier.overage_price, PER_MILLION)


def _rejected(message: str, reset_ns: int, tokens: Standing | None) -> Rejected:
    rejected = Rejected(429, "insufficient_quota", message)
    rejected.type = "insufficient_quota"  # OpenAI's family for it; clients tell it from the rate
    rejected.headers = (
        *retry_fields(reset_ns),
        (b"x-should-retry", b"false"),  # what OpenAI's clients obey before any Retry-After
        *limit_fields(None, tokens),
    )
    return rejected

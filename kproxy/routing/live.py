"""What is known of every route at this moment: observations in, one frozen snapshot out.

A route is one model at one provider. Its window and its breaker live here, and the mark on its
provider's credential. Whoever makes an attempt is admitted first and says then how it went
(`Grant`); the planner reads snapshots. A snapshot is made anew when a route's health has changed,
else at most every `REFRESH` seconds, and only routes that saw something meanwhile are measured.

Names that no row lists (a provider with `models = "any"`) have routes too, since a caller's mistake
in one name must not close the others. But callers invent them, so only the `NAMES` used last are
remembered.
"""

import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import msgspec

from kproxy.errors import Fault, FaultKind
from kproxy.routing.health import Breaker, BreakerParams, Event, Permit, Standing, Verdict
from kproxy.routing.window import SLICE_SECONDS, Measured, Window

__all__ = ["NAMES", "REFRESH", "UNKNOWN", "Grant", "HealthParams", "Live", "Routes"]

REFRESH = 0.25
"""Seconds that a snapshot may be old while nobody's health changes."""

NAMES = 128
"""Routes of unlisted names; a window holds 23 kB."""

LONGEST_REFUSAL = 16
"""How much longer a provider is left alone at the most that refuses our key again and again."""

PROBING = 1.0
"""Seconds that a route is said to rest while its probe is out: nobody knows."""

UNAUTHORIZED = 401


class Live(msgspec.Struct, frozen=True):
    """One route. `resting`: seconds until it may be asked again, 0 where it may; `why` it rests."""

    measured: Measured
    resting: float = 0.0
    why: str = ""
    breaker: str = "closed"


UNKNOWN = Live(Measured(0, 0, None, None, None, 0.0))
"""Of a route that nobody has asked yet."""


class HealthParams(msgspec.Struct, frozen=True):
    """`credential_rest`: seconds for which a provider is left alone that refused our key."""

    breaker: BreakerParams = BreakerParams()
    credential_rest: float = 30.0


class _Route:
    """One model at one provider."""

    __slots__ = ("account", "breaker", "dirty", "live", "measured_at", "window")

    def __init__(self, params: BreakerParams, account: Breaker) -> None:
        self.window = Window()
        self.breaker = Breaker(params)
        self.account = account  # the provider's: whether it takes our key
        self.live = UNKNOWN
        self.dirty = False
        self.measured_at = 0.0

    def measure(self, now: float) -> Live:
        """The route now; its figures are read again only when there can be others."""
        measured = self.live.measured
        if self.dirty or now - self.measured_at > SLICE_SECONDS:
            measured = self.window.measure(now)
            self.dirty, self.measured_at = False, now
        own, account = self.breaker.standing(now), self.account.standing(now)
        state = own.state.value
        if account.resting(now):
            why = "its provider refuses our key"
            self.live = Live(measured, _left(account, now), why, state)
        elif own.resting(now):
            self.live = Live(measured, _left(own, now), "it failed, or asked for time", state)
        else:
            self.live = Live(measured, breaker=state)
        return self.live


def _left(standing: Standing, now: float) -> float:
    return PROBING if standing.open_until is None else standing.open_until - now


class Grant:
    """The admission of one attempt. Each method but `first_token` ends it; one of them is called.

    Times are seconds of trio's clock; durations are the attempt's own.
    """

    __slots__ = ("_account", "_own", "_route", "_routes")

    def __init__(self, routes: "Routes", route: _Route, own: Permit, account: Permit) -> None:
        self._routes = routes
        self._route = route
        self._own = own
        self._account = account

    def first_token(self, now: float, waited: float) -> None:
        """The commit point of a stream. A probe has its verdict here: its stream may last long."""
        self._route.window.first_token(now, waited)
        self._route.dirty = True
        if self._own.probe or self._account.probe:
            self._end(Event.SUCCESS, Event.SUCCESS, now)

    def complete(self, now: float, took: float, pace: float | None) -> None:
        """The answer is whole; `pace` in tokens per second, None where it was too short to tell."""
        window = self._route.window
        window.total(now, took)
        if pace is not None:
            window.throughput(now, pace)
        self.answered(now)

    def answered(self, now: float) -> None:
        """An answer, if only a refusal of the caller's content: the route works."""
        self._route.window.attempt(now, failed=False)
        self._end(Event.SUCCESS, Event.SUCCESS, now)

    def failed(self, now: float, fault: Fault, *, accrued: bool) -> None:
        """The attempt failed; `accrued` says whether that is the route's doing."""
        breaker = self._route.breaker
        if fault.retry_after is not None:
            breaker.penalise(now + fault.retry_after, now)
        refused = fault.kind is FaultKind.CREDENTIAL and fault.status == UNAUTHORIZED
        account: Verdict = Event.FAILURE if refused else Event.ABANDONED
        if accrued:
            self._route.window.attempt(now, failed=True)
        own: Verdict = Event.FAILURE if accrued and not refused else Event.ABANDONED
        self._end(own, account, now)

    def abandoned(self, now: float, waited: float | None) -> None:
        """No verdict: the caller has left, or another attempt was first.

        `waited` is how long it had gone without a token where that says something of the route.
        """
        if waited is not None:
            self._route.window.first_token(now, waited)
        self._end(Event.ABANDONED, Event.ABANDONED, now)

    def _end(self, own: Verdict, account: Verdict, now: float) -> None:
        route, probing = self._route, self._own.probe or self._account.probe
        route.dirty = True
        route.breaker.ended(self._own, own, now)
        route.account.ended(self._account, account, now)
        if probing or Event.FAILURE in (own, account):
            self._routes.changed = True


class Routes:
    """Every route of this process. `keys` are those that rows list, as `provider/id`."""

    def __init__(self, keys: Iterable[str], params: HealthParams) -> None:
        self._params = params
        self._accounts: dict[str, Breaker] = {}
        self._listed = {key: self._route(key) for key in keys}
        self._named: OrderedDict[str, _Route] = OrderedDict()  # the one used last is last
        self._snapshot: Mapping[str, Live] = MappingProxyType({})
        self._made = -math.inf
        self.changed = False  # somebody's health has changed since the snapshot was made

    def __repr__(self) -> str:
        return f"<Routes {len(self._listed)} listed, {len(self._named)} named>"

    def admit(self, key: str, now: float) -> Grant:
        """One attempt at this route. Raises Fault (RESTING) where it must be left alone."""
        route = self._find(key)
        account = route.account.admit(now)
        if account is None:
            raise self._resting(route, now)
        own = route.breaker.admit(now)
        if own is None:
            route.account.ended(account, Event.ABANDONED, now)
            raise self._resting(route, now)
        if own.probe or account.probe:
            self.changed = True  # until the probe's verdict nobody else may
        return Grant(self, route, own, account)

    def snapshot(self, now: float) -> Mapping[str, Live]:
        """Every route that was ever asked, by key; those that rows list, asked or not."""
        if self.changed or now - self._made >= REFRESH:
            routes = (*self._listed.items(), *self._named.items())
            self._snapshot = MappingProxyType({key: one.measure(now) for key, one in routes})
            self._made, self.changed = now, False
        return self._snapshot

    def _find(self, key: str) -> _Route:
        found = self._listed.get(key)
        if found is not None:
            return found
        found = self._named.pop(key, None) or self._route(key)
        self._named[key] = found
        if len(self._named) > NAMES:
            self._named.popitem(last=False)
        return found

    def _route(self, key: str) -> _Route:
        provider = key.partition("/")[0]
        account = self._accounts.get(provider)
        if account is None:
            rest = self._params.credential_rest
            params = BreakerParams(failures=1, rest=rest, longest_rest=LONGEST_REFUSAL * rest)
            account = self._accounts[provider] = Breaker(params)
        return _Route(self._params.breaker, account)

    def _resting(self, route: _Route, now: float) -> Fault:
        live = route.measure(now)
        return Fault(FaultKind.RESTING, f"not asked: {live.why}", retry_after=live.resting)

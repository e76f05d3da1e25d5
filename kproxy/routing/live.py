"""What is known of every route at this moment: observations in, one frozen snapshot out.

A route is one model at one provider. Its window and its breaker live here, and its provider's
breaker: whether that can be reached at all, and takes our key. Whoever makes an attempt is admitted
first and says then how it went (`Grant`); the planner reads snapshots. A snapshot is made anew when
a route's health has changed, else at most every `REFRESH` seconds, and only routes that saw
something meanwhile are measured.

Names that no row lists (a provider with `models = "any"`) have routes too, since a caller's mistake
in one name must not close the others. But callers invent them, so only the `NAMES` used last are
remembered.
"""

import math
from collections import OrderedDict
from collections.abc import Container, Iterable, Mapping, Sequence
from types import MappingProxyType

import msgspec

from kproxy.errors import Fault, FaultKind
from kproxy.routing.health import (
    ROUNDING,
    Breaker,
    BreakerParams,
    BreakerState,
    Event,
    Permit,
    Standing,
    Verdict,
)
from kproxy.routing.news import News, Rest
from kproxy.routing.window import SLICE_SECONDS, Measured, Seen, Window

__all__ = ["NAMES", "REFRESH", "UNKNOWN", "Grant", "HealthParams", "Live", "Routes"]

REFRESH = 0.25
"""Seconds that a snapshot may be old while nobody's health changes."""

NAMES = 128
"""Routes of unlisted names; a window holds 31 kB."""

LONGEST = 512
"""Characters of a name that other processes are told of; callers invent names."""

WHY = ("its provider cannot be reached, or refuses our key", "it failed, or asked for time")

UNAUTHORIZED = 401

UNREACHED = frozenset({FaultKind.CONNECT, FaultKind.CONNECT_TIMEOUT, FaultKind.TLS})
"""Faults of the way to a provider, whatever the model."""


class Live(msgspec.Struct, frozen=True):
    """One route. `resting`: seconds until it may be asked again, 0 where it may; `why` it rests.

    `due`: its rest is over, and whoever asks next is its probe.
    """

    measured: Measured
    resting: float = 0.0
    why: str = ""
    breaker: str = "closed"
    due: bool = False


UNKNOWN = Live(Measured(0, None, None, 0, None, None, 0.0))
"""Of a route that nobody has asked yet."""


NOTHING = Window().shown(0.0)


class HealthParams(msgspec.Struct, frozen=True):
    """`credential_rest`: seconds for which a provider is left alone that refused our key (401)."""

    breaker: BreakerParams = BreakerParams()
    credential_rest: float = 30.0


class _Route:
    """One model at one provider."""

    __slots__ = (
        "account",
        "breaker",
        "dirty",
        "live",
        "measured_at",
        "others",
        "shown",
        "shown_at",
        "window",
    )

    def __init__(self, params: BreakerParams, account: Breaker) -> None:
        self.window = Window()
        self.breaker = Breaker(params)
        self.account = account  # its provider's: whether it can be reached, and takes our key
        self.live = UNKNOWN
        self.dirty = False
        self.measured_at = 0.0
        self.others: Sequence[Seen] = ()  # what other processes have seen of it
        self.shown: Seen | None = None  # what they were told; None: it may have changed
        self.shown_at = 0.0

    def saw(self) -> None:
        """Its window is another than it was."""
        self.dirty, self.shown = True, None

    def seen(self, now: float) -> Seen | None:
        """What its window holds, for other processes; None: nothing."""
        if self.shown is None or now - self.shown_at > SLICE_SECONDS:
            self.shown, self.shown_at = self.window.shown(now), now
        return self.shown if self.shown != NOTHING else None

    def hear(self, others: Sequence[Seen]) -> None:
        """What other processes hold of it now, all of them."""
        if others != self.others:
            self.others, self.dirty = others, True

    def measure(self, now: float) -> Live:
        """The route now; its figures are read again only when there can be others."""
        measured = self.live.measured
        if self.dirty or now - self.measured_at > SLICE_SECONDS:
            measured = self.window.measure(now, self.others)
            self.dirty, self.measured_at = False, now
        both = (self.account.standing(now), self.breaker.standing(now))
        own = both[1].state
        for standing, why in zip(both, WHY, strict=True):
            if standing.resting(now):
                state = own if own is not BreakerState.CLOSED else standing.state
                self.live = Live(measured, _left(standing, now), why, state.value)
                return self.live
        due = any(standing.state is not BreakerState.CLOSED for standing in both)
        self.live = Live(measured, breaker=own.value, due=due)
        return self.live


def _continued(old: _Route | None, params: BreakerParams, account: Breaker) -> _Route:
    """The route after a change; None: it is new."""
    if old is None:
        return _Route(params, account)
    old.breaker.reform(params)
    if old.account is account:
        return old
    route = _Route(params, account)
    route.window, route.breaker, route.others = old.window, old.breaker, old.others
    route.dirty = True
    return route


def _left(standing: Standing, now: float) -> float:
    return 0.0 if standing.open_until is None else standing.open_until - now


class Grant:
    """The admission of one attempt. Of the methods but `first_token`, one is called, at its end.

    Times are seconds of trio's clock; durations are the attempt's own.
    """

    __slots__ = ("_account", "_own", "_route", "_routes")

    def __init__(self, routes: "Routes", route: _Route, own: Permit, account: Permit) -> None:
        self._routes = routes
        self._route = route
        self._own = own
        self._account = account

    def first_token(self, now: float, waited: float) -> None:
        """The commit point of a stream. A probe has shown enough here for others to be let in; its
        stream may last long, and how that ends still counts."""
        route = self._route
        route.window.first_token(now, waited)
        route.saw()
        if self._own.probe or self._account.probe:
            self._end(Event.SUCCESS, Event.SUCCESS, now)
            self._own = route.breaker.admit(now) or self._own
            self._account = route.account.admit(now) or self._account

    def complete(self, now: float, took: float, pace: float | None) -> None:
        """The answer is whole; `pace` in tokens per second, None where it was too short to tell."""
        window = self._route.window
        window.total(now, took)
        if pace is not None:
            window.throughput(now, pace)
        window.attempt(now, failed=False)
        self._end(Event.SUCCESS, Event.SUCCESS, now)

    def refused(self, now: float) -> None:
        """The provider refused the caller's content: it can be reached, and nothing else is known.
        A dead model must not look alive because somebody's requests are bad."""
        self._end(Event.ABANDONED, Event.SUCCESS, now)

    def failed(self, now: float, fault: Fault, *, accrued: bool) -> None:
        """The attempt failed; `accrued` says whether that is the route's doing."""
        route = self._route
        if fault.retry_after is not None:
            route.breaker.penalise(now + fault.retry_after, now)
            self._routes.changed = True
        if accrued:
            route.window.attempt(now, failed=True)
        if fault.status == UNAUTHORIZED:
            route.account.open_now(now, self._routes.params.credential_rest)
            self._end(Event.ABANDONED, Event.FAILURE, now)
        elif fault.kind in UNREACHED:
            self._end(Event.FAILURE, Event.FAILURE, now)
        else:
            own: Verdict = Event.FAILURE if accrued else Event.ABANDONED
            heard: Verdict = Event.ABANDONED if fault.status is None else Event.SUCCESS
            self._end(own, heard, now)

    def abandoned(self, now: float, waited: float | None) -> None:
        """No verdict: the caller has left, or another attempt was first.

        `waited` is how long it had gone without a token where that says something of the route.
        """
        if waited is not None:
            self._route.window.waited(now, waited)
        self._end(Event.ABANDONED, Event.ABANDONED, now)

    def _end(self, own: Verdict, account: Verdict, now: float) -> None:
        route, probing = self._route, self._own.probe or self._account.probe
        route.saw()
        route.breaker.ended(self._own, own, now)
        route.account.ended(self._account, account, now)
        if probing or own is Event.FAILURE or account is Event.FAILURE:
            self._routes.changed = True


class Routes:
    """Every route of this process. `keys` are those that rows list, as `provider/id`."""

    def __init__(self, keys: Iterable[str], params: HealthParams) -> None:
        self.params = params
        self._accounts: dict[str, Breaker] = {}
        self._forgiven: dict[str, float] = {}  # ends of rests that count no more, by slug or key
        self._listed: dict[str, _Route] = {}
        self._named: OrderedDict[str, _Route] = OrderedDict()  # the one used last is last
        self._snapshot: Mapping[str, Live] = MappingProxyType({})
        self._made = -math.inf
        self.changed = False  # somebody's health has changed since the snapshot was made
        self.renew(keys, params)

    def __repr__(self) -> str:
        return f"<Routes {len(self._listed)} listed, {len(self._named)} named>"

    def renew(
        self,
        keys: Iterable[str],
        params: HealthParams,
        moved: Container[str] = (),
        rekeyed: Container[str] = (),
    ) -> None:
        """Other routes from now on. What is known of one that stays, stays, but where its provider
        is in `moved`, to another address; one in `rekeyed` may be asked again with its new key.

        Attempts under way end where they began: what they say of an old key is not held against
        the new one. Nor is what other processes say, who may read the new key a moment later.
        """
        self.params = params
        accounts, known, self._accounts = self._accounts, self._listed, {}
        self._listed = {}
        for key in keys:
            slug = key.partition("/")[0]
            account = self._accounts.get(slug)
            if account is None:
                stays = slug in accounts and slug not in moved and slug not in rekeyed
                account = accounts[slug] if stays else Breaker(params.breaker)
                if slug in accounts and not stays:
                    self._forgive(slug, accounts[slug])
                account.reform(params.breaker)
                self._accounts[slug] = account
            old = None if slug in moved else known.get(key)
            if slug in moved and key in known:
                self._forgive(key, known[key].breaker)
            self._listed[key] = _continued(old, params.breaker, account)
        for key in tuple(self._named):
            if key.partition("/")[0] in moved or key in self._listed:
                del self._named[key]
        self.changed = True

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

    def news(self, now: float) -> News:
        """What this process knows, for the others; the routes that were used last come first."""
        named = {key: one for key, one in reversed(self._named.items()) if len(key) <= LONGEST}
        known = {**self._listed, **named}
        seen = {key: its for key, one in known.items() if (its := one.seen(now)) is not None}
        rests = {key: one.breaker.rests(now) for key, one in known.items()}
        accounts = {slug: one.rests(now) for slug, one in self._accounts.items()}
        return News(now, seen, _resting(rests), _resting(accounts))

    def hear(self, news: Sequence[News], now: float) -> None:
        """What all other processes know at this moment, by this one's clock.

        Of a name that nobody lists only those hear who were asked for it themselves.
        """
        for key, one in (*self._listed.items(), *self._named.items()):
            one.hear([their.seen[key] for their in news if key in their.seen])
            rests = [their.routes[key] for their in news if key in their.routes]
            self._heed(one.breaker, self._held(key, rests), now)
        for slug, account in self._accounts.items():
            rests = [their.accounts[slug] for their in news if slug in their.accounts]
            self._heed(account, self._held(slug, rests), now)

    def _forgive(self, name: str, breaker: Breaker) -> None:
        """Rests that end no later than this one are of another key, or another address."""
        self._forgiven[name] = max(breaker.rests(-math.inf)) + ROUNDING

    def _held(self, name: str, rests: list[Rest]) -> list[Rest]:
        """Those that are not forgiven."""
        end = self._forgiven.get(name)
        return rests if end is None else [one for one in rests if max(one.until, one.penalty) > end]

    def _heed(self, breaker: Breaker, rests: Iterable[Rest], now: float) -> None:
        for rest in rests:
            self.changed |= breaker.heed(rest.until, rest.penalty, now)

    def _find(self, key: str) -> _Route:
        found = self._listed.get(key)
        if found is not None:
            return found
        found = self._named.pop(key, None) or self._invented()
        self._named[key] = found
        if len(self._named) > NAMES:
            self._named.popitem(last=False)
        return found

    def _invented(self) -> _Route:
        """A route of a name that nobody listed: what it meets says nothing of its provider."""
        return _Route(self.params.breaker, Breaker(self.params.breaker))

    def _resting(self, route: _Route, now: float) -> Fault:
        live = route.measure(now)
        return Fault(FaultKind.RESTING, f"not asked: {live.why}", retry_after=live.resting)


def _resting(rests: Mapping[str, tuple[float, float]]) -> dict[str, Rest]:
    return {key: Rest(*ends) for key, ends in rests.items() if any(ends)}

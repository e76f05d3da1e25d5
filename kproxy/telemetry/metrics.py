"""What operators count: plain integers on the hot path, Prometheus' text when somebody asks.

prometheus-client's own counters take a lock and some 2 us a count, which is a tenth of what a whole
request costs here. One thread counts, so ours are dictionaries; the library writes them out, since
the exposition format is its business (`exposition.py`). Only configured models become label values;
names that a passthrough provider takes are `other`.

Of several worker processes whoever is asked answers for all: see `Metrics.share`.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Protocol

from kproxy.errors import FaultKind
from kproxy.outcome import AttemptOutcome
from kproxy.routing.live import Live
from kproxy.schema.receipt import PluginReport
from kproxy.telemetry.pooled import Family, Merge, Named, add_up, decode, encode, lasting

__all__ = ["METRICS_TYPE", "Colleagues", "Metrics"]

METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
"""Buckets from a local model's first token to the total deadline of a long answer."""

SHORT = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)
"""Buckets of what kproxy itself adds, of which a good part is the caller's body on its way."""

OTHER = "other"

REFUSALS = frozenset({
    "PLUGIN_REQUIRES_PAID", "all_models_unavailable", "content_blocked", "content_filter",
    "content_not_moderated", "context_length_exceeded", "cost_guardrail_exceeded",
    "deadline_exceeded", "headers_too_large", "host_not_allowed", "idempotency_key_reused",
    "idempotency_unavailable", "insufficient_quota", "internal_error", "invalid_api_key",
    "invalid_request_error", "key_not_found", "keys_disabled", "ledger_unavailable",
    "loop_detected", "method_not_allowed", "model_not_found", "moderation_unavailable",
    "no_models_available", "not_found", "origin_not_allowed", "overloaded", "plugin_not_available",
    "precondition_failed", "provider_keys_unavailable", "rate_limit_exceeded", "receipt_not_found",
    "request_in_progress", "request_timeout", "request_too_large", "shutting_down", "store_busy",
    "too_many_keys", "unsupported_media_type", "unsupported_parameter", "upstream_error",
    "uri_too_long",
})  # fmt: skip
"""Codes of errors that become label values; a provider's own are `other`."""

Labels = tuple[str, ...]


class Distribution:
    """Observations in seconds, in buckets that end at `ends`; the last is open."""

    __slots__ = ("counts", "ends", "total")

    def __init__(self, ends: Sequence[float] = SECONDS) -> None:
        self.ends = ends
        self.counts = [0] * (len(ends) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Count one observation."""
        self.counts[bisect_left(self.ends, seconds)] += 1
        self.total += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Upper ends and cumulative counts, as the exposition wants them."""
        ends = [*map(str, map(float, self.ends)), "+Inf"]
        return list(zip(ends, map(float, accumulate(self.counts)), strict=True))


class Colleagues(Protocol):
    """The other processes of one server: bytes to them and from them. For several threads."""

    @property
    def left(self) -> bytes | None:
        """What this process's predecessor showed last; None: it has none."""
        ...

    def show(self, payload: bytes) -> bool:
        """Show this to the others. False: it is too long."""
        ...

    def others(self) -> Iterable[tuple[bytes, bool]]:
        """What the others show, and whether who shows it is still there."""
        ...


class Metrics:
    """Counters of one process. Everything is synchronous and cheap but `render` and `show`."""

    def __init__(self, models: Iterable[tuple[str, str]]) -> None:
        """`models` are the (provider, model) pairs that become label values."""
        self._known: frozenset[tuple[str, str]] = frozenset()
        self.know(models)
        self._requests: Counter[Labels] = Counter()
        self._attempts: Counter[Labels] = Counter()
        self._faults: Counter[Labels] = Counter()
        self._tokens: Counter[Labels] = Counter()
        self._cost: Counter[Labels] = Counter()  # nano-dollars
        self._duration: dict[Labels, Distribution] = {}
        self._first_token: dict[Labels, Distribution] = {}
        self._overhead = Distribution(SHORT)
        self._refused: Counter[Labels] = Counter()
        self._further: Counter[Labels] = Counter()
        self._plugins: Counter[Labels] = Counter()
        self.in_flight = 0  # requests that a handler has not left
        self.resting: Mapping[Labels, float] = {}  # seconds by route, see `note_routes`
        self._watched: list[Callable[[], Family]] = []
        self._rules: dict[str, Merge] = {"kproxy_route_resting_seconds": "max"}
        self._colleagues: Colleagues | None = None
        self._before: list[Family] = []  # what a predecessor has counted

    def know(self, models: Iterable[tuple[str, str]]) -> None:
        """These become label values, too. Those of before stay: a counter must not go back."""
        self._known |= frozenset(models)

    def watch(self, name: str, text: str, value: Callable[[], float], merge: Merge = "sum") -> None:
        """Add a gauge that is read when it is rendered. `merge`: of several processes' values."""
        self._watched.append(lambda: _gauge(name, text, (), {(): value()}))
        self._rules[name] = merge

    def watch_count(
        self, name: str, text: str, value: Callable[[], float], merge: Merge = "sum"
    ) -> None:
        """Add a counter that somebody else keeps; it is read when it is rendered, as `name_total`.
        `merge`: "max" where each process counts the same."""
        self._watched.append(lambda: _counter(name, text, (), {(): value()}))
        self._rules[name] = merge

    def watch_each(
        self,
        name: str,
        text: str,
        labels: tuple[str, ...],
        values: Callable[[], Mapping[Labels, float]],
    ) -> None:
        """Add a gauge with labels: one value for each tuple of label values, at that time. `values`
        is called in the thread that renders."""
        self._watched.append(lambda: _gauge(name, text, labels, values()))

    def request(self, route: str, status: int, seconds: float) -> None:
        """One request has been answered, whatever the answer; status 0: the caller had left."""
        self._requests[route, str(status) if status else "cancelled"] += 1
        _observe(self._duration, (route,), seconds)

    def malformed(self, status: int, code: str) -> None:
        """Something was answered that was no request; nobody knows when it began."""
        self._requests["none", str(status)] += 1
        self.refused(code)

    def refused(self, code: str) -> None:
        """A caller was told this code instead of an answer."""
        self._refused[code if code in REFUSALS else OTHER,] += 1

    def note_routes(self, known: Mapping[str, Live]) -> None:
        """How routes are now, by `provider/id`; a thread that renders must not ask for it."""
        named = ((key.partition("/"), live.resting) for key, live in known.items())
        self.resting = {(slug, name): resting for (slug, _, name), resting in named}

    def planned(self, seconds: float) -> None:
        """A request has its plan: so long after its head had come."""
        self._overhead.add(seconds)

    def further(self, outcomes: Sequence[AttemptOutcome]) -> None:
        """A request is over: count its attempts after the first by why they were made."""
        if len(outcomes) < 2:
            return
        before: list[AttemptOutcome] = []
        for one in sorted(outcomes, key=_started):
            if before:
                self._further[_why(before, one),] += 1
            before.append(one)

    def plugged(self, reports: Iterable[PluginReport]) -> None:
        """A request is over: count what became of its plugins."""
        for one in reports:
            self._plugins[one.id, "ok" if one.ok else "failed"] += 1

    def first_token(self, provider: str, model: str, seconds: float) -> None:
        """The first token of an answer has come."""
        _observe(self._first_token, self.labels(provider, model), seconds)

    def attempt(self, outcome: AttemptOutcome) -> None:
        """An attempt has ended: what it used, and nano-dollars where the price is known."""
        labels, usage = self.labels(outcome.provider, outcome.model), outcome.usage
        self._attempts[*labels, outcome.ending.value] += 1
        if usage is None:
            return
        self._tokens[*labels, "prompt"] += usage.prompt_tokens
        self._tokens[*labels, "completion"] += usage.completion_tokens
        if outcome.cost:
            self._cost[labels] += outcome.cost

    def fault(self, provider: str, kind: FaultKind) -> None:
        """An attempt has failed."""
        self._faults[provider, kind.value] += 1

    def share(self, colleagues: Colleagues) -> None:
        """Count on from what a predecessor has left, and answer for all from now on."""
        if colleagues.left is not None:
            self._before = lasting(decode(colleagues.left))
        self._colleagues = colleagues

    def show(self) -> bool:
        """Show the others what is counted here; False: it is too much. Call it in a thread."""
        return self._colleagues is None or self._colleagues.show(encode(self._own()))

    def render(self) -> bytes:
        """The text exposition, of all processes. Takes milliseconds: call it in a thread."""
        from kproxy.telemetry.exposition import written  # 2.5 MB that nobody needs who never asks

        if self._colleagues is None:
            return written(self.collect())
        own = self._own()
        # Shown before it is told: what has been told once is never forgotten, whoever dies.
        self._colleagues.show(encode(own))
        parts = [own]
        for payload, alive in self._colleagues.others():
            theirs = decode(payload)
            parts.append(theirs if alive else lasting(theirs))
        return written(add_up(parts, self._rules))

    def _own(self) -> list[Family]:
        """What is counted here, with what was counted before in our place."""
        return add_up([self.collect(), self._before], self._rules)

    def collect(self) -> list[Family]:
        """Everything counted here so far, and what is watched. Copies: another thread renders."""
        return [*self._counted(), *(read() for read in self._watched)]

    def _counted(self) -> Iterator[Family]:
        model = ("provider", "model")
        yield _counter("kproxy_requests", "Requests answered.", ("route", "status"), self._requests)
        yield _counter(
            "kproxy_attempts",
            "Attempts at providers by how they ended.",
            (*model, "ending"),
            self._attempts,
        )
        yield _counter(
            "kproxy_faults", "Failed attempts by what failed.", ("provider", "fault"), self._faults
        )
        yield _counter("kproxy_tokens", "Tokens used.", (*model, "type"), self._tokens)
        cost = {labels: nanos / 1e9 for labels, nanos in self._cost.copy().items()}
        yield _counter("kproxy_cost_usd", "Cost in USD.", model, cost)
        yield _counter(
            "kproxy_refused",
            "Requests that got an error instead of an answer.",
            ("code",),
            self._refused,
        )
        yield _counter(
            "kproxy_further_attempts",
            "Attempts after the first: the same route again, another one, or one beside another.",
            ("why",),
            self._further,
        )
        yield _counter(
            "kproxy_plugins",
            "Requests' plugins by what became of them.",
            ("plugin", "end"),
            self._plugins,
        )
        yield _gauge(
            "kproxy_requests_in_flight", "Requests being answered.", (), {(): self.in_flight}
        )
        yield _gauge(
            "kproxy_route_resting_seconds",
            "For how long a route is left alone for its failures; 0: it is not.",
            model,
            {labels: rest for labels, rest in self.resting.items() if labels in self._known},
        )
        yield _histogram(
            "kproxy_request_duration_seconds",
            "From the request's head to the end of its response.",
            ("route",),
            self._duration,
        )
        yield _histogram(
            "kproxy_first_token_seconds",
            "From the request's head to the first token.",
            model,
            self._first_token,
        )
        yield _histogram(
            "kproxy_overhead_seconds",
            "From the request's head to its plan: reading the body, checking, deciding.",
            (),
            {(): self._overhead},
        )

    def labels(self, provider: str, model: str) -> tuple[str, str]:
        """The label values of an endpoint: a name that nobody configured is `other`."""
        return (provider, model) if (provider, model) in self._known else (provider, OTHER)


def _observe(family: dict[Labels, Distribution], labels: Labels, seconds: float) -> None:
    found = family.get(labels)
    if found is None:
        found = family[labels] = Distribution()
    found.add(seconds)


def _started(one: AttemptOutcome) -> float:
    return one.started


def _why(before: list[AttemptOutcome], one: AttemptOutcome) -> str:
    if any(other.ended > one.started for other in before):
        return "beside"
    last = before[-1]
    again = (last.provider, last.model) == (one.provider, one.model)
    return "again" if again else "elsewhere"


def _gauge(name: str, text: str, labels: Labels, values: Mapping[Labels, float]) -> Family:
    samples = ((name, _named(labels, key), float(value)) for key, value in values.items())
    return Family(name, text, "gauge", tuple(samples))


def _counter(name: str, text: str, labels: Labels, counts: Mapping[Labels, float]) -> Family:
    total = f"{name}_total"
    samples = ((total, _named(labels, key), float(count)) for key, count in dict(counts).items())
    return Family(name, text, "counter", tuple(samples))


def _histogram(
    name: str, text: str, labels: Labels, observed: Mapping[Labels, Distribution]
) -> Family:
    samples: list[tuple[str, Named, float]] = []
    for key, distribution in dict(observed).items():
        named, buckets = _named(labels, key), distribution.buckets()
        samples += [(f"{name}_bucket", (*named, ("le", end)), count) for end, count in buckets]
        samples.append((f"{name}_count", named, buckets[-1][1]))
        samples.append((f"{name}_sum", named, distribution.total))
    return Family(name, text, "histogram", tuple(samples))


def _named(labels: Labels, values: Labels) -> Named:
    return tuple(zip(labels, values, strict=True))

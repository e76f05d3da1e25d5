"""What operators count: plain integers on the hot path, Prometheus' text when somebody asks.

prometheus-client's own counters take a lock and some 2 us a count, which is a tenth of what a whole
request costs here. One thread counts, so ours are dictionaries; the library renders them, because
the exposition format is its business. Only configured models become label values; names that a
passthrough provider takes are `other`.

Of several worker processes whoever is asked answers for all: see `Metrics.share`.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Protocol

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from kproxy.errors import FaultKind
from kproxy.outcome import Ending, Usage
from kproxy.telemetry.pooled import (
    Family,
    Merge,
    add_up,
    decode,
    encode,
    families,
    lasting,
    metrics,
)

__all__ = ["METRICS_TYPE", "Colleagues", "Metrics"]

METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
"""Buckets from a local model's first token to the total deadline of a long answer."""

OTHER = "other"

Labels = tuple[str, ...]


class Distribution:
    """Observations in seconds, in buckets that end at `SECONDS`; the last is open."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(SECONDS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Count one observation."""
        self.counts[bisect_left(SECONDS, seconds)] += 1
        self.total += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Upper ends and cumulative counts, as the exposition wants them."""
        ends = [*map(str, map(float, SECONDS)), "+Inf"]
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


class _Gauges(Collector):
    """Gauges whose label values may be others the next time."""

    def __init__(
        self, name: str, text: str, labels: Labels, values: Callable[[], Mapping[Labels, float]]
    ) -> None:
        self._named = (name, text, labels)
        self._values = values

    def describe(self) -> Iterator[Metric]:
        """For the registry, which else collects once to learn the names."""
        name, text, labels = self._named
        yield GaugeMetricFamily(name, text, labels=labels)

    def collect(self) -> Iterator[Metric]:
        """For the registry."""
        name, text, labels = self._named
        family = GaugeMetricFamily(name, text, labels=labels)
        for key, value in self._values().items():
            family.add_metric(key, value)
        yield family


class Metrics(Collector):
    """Counters of one process. Everything is synchronous and cheap but `render` and `show`."""

    def __init__(self, models: Iterable[tuple[str, str]]) -> None:
        """`models` are the (provider, model) pairs that become label values."""
        self.registry = CollectorRegistry()
        self.registry.register(self)
        self._known: frozenset[tuple[str, str]] = frozenset()
        self.know(models)
        self._requests: Counter[Labels] = Counter()
        self._attempts: Counter[Labels] = Counter()
        self._faults: Counter[Labels] = Counter()
        self._tokens: Counter[Labels] = Counter()
        self._cost: Counter[Labels] = Counter()  # nano-dollars
        self._duration: dict[Labels, Distribution] = {}
        self._first_token: dict[Labels, Distribution] = {}
        self._rules: dict[str, Merge] = {}
        self._colleagues: Colleagues | None = None
        self._before: list[Family] = []  # what a predecessor has counted

    def know(self, models: Iterable[tuple[str, str]]) -> None:
        """These become label values, too. Those of before stay: a counter must not go back."""
        self._known |= frozenset(models)

    def watch(self, name: str, text: str, value: Callable[[], float], merge: Merge = "sum") -> None:
        """Add a gauge that is read when it is rendered. `merge`: of several processes' values."""
        Gauge(name, text, registry=self.registry).set_function(value)
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
        self.registry.register(_Gauges(name, text, labels, values))

    def request(self, route: str, status: int, seconds: float) -> None:
        """One request has been answered, whatever the answer; status 0: the caller had left."""
        self._requests[route, str(status) if status else "cancelled"] += 1
        _observe(self._duration, (route,), seconds)

    def first_token(self, provider: str, model: str, seconds: float) -> None:
        """The first token of an answer has come."""
        _observe(self._first_token, self.labels(provider, model), seconds)

    def attempt(self, provider: str, model: str, ending: Ending) -> None:
        """An attempt has ended."""
        self._attempts[*self.labels(provider, model), ending.value] += 1

    def fault(self, provider: str, kind: FaultKind) -> None:
        """An attempt has failed."""
        self._faults[provider, kind.value] += 1

    def used(self, provider: str, model: str, usage: Usage, cost: int | None) -> None:
        """An answer is complete: tokens, and nano-dollars where the price is known."""
        labels = self.labels(provider, model)
        self._tokens[*labels, "prompt"] += usage.prompt_tokens
        self._tokens[*labels, "completion"] += usage.completion_tokens
        if cost:
            self._cost[labels] += cost

    def share(self, colleagues: Colleagues) -> None:
        """Count on from what a predecessor has left, and answer for all from now on."""
        if colleagues.left is not None:
            self._before = lasting(decode(colleagues.left), self._rules)
        self._colleagues = colleagues

    def show(self) -> bool:
        """Show the others what is counted here; False: it is too much. Call it in a thread."""
        return self._colleagues is None or self._colleagues.show(encode(self._own()))

    def render(self) -> bytes:
        """The text exposition, of all processes. Takes milliseconds: call it in a thread."""
        if self._colleagues is None:
            return generate_latest(self.registry)
        own = self._own()
        # Shown before it is told: what has been told once is never forgotten, whoever dies.
        self._colleagues.show(encode(own))
        parts = [own]
        for payload, alive in self._colleagues.others():
            theirs = decode(payload)
            parts.append(theirs if alive else lasting(theirs, self._rules))
        pooled = CollectorRegistry(auto_describe=False)
        pooled.register(_Together(add_up(parts, self._rules)))
        return generate_latest(pooled)

    def _own(self) -> list[Family]:
        """What is counted here, with what was counted before in our place."""
        return add_up([families(self.registry.collect()), self._before], self._rules)

    def collect(self) -> Iterator[Metric]:
        """For the registry: everything counted so far. Copies, since another thread renders."""
        model = ("provider", "model")
        yield _counter("requests", "Requests answered.", ("route", "status"), self._requests)
        yield _counter(
            "attempts",
            "Attempts at providers by how they ended.",
            (*model, "ending"),
            self._attempts,
        )
        yield _counter(
            "faults", "Failed attempts by what failed.", ("provider", "fault"), self._faults
        )
        yield _counter("tokens", "Tokens used.", (*model, "type"), self._tokens)
        cost = {labels: nanos / 1e9 for labels, nanos in self._cost.copy().items()}
        yield _counter("cost_usd", "Cost in USD.", model, cost)
        yield _histogram(
            "request_duration_seconds",
            "From the request's head to the end of its response.",
            ("route",),
            self._duration,
        )
        yield _histogram(
            "first_token_seconds",
            "From the request's head to the first token.",
            model,
            self._first_token,
        )

    def labels(self, provider: str, model: str) -> tuple[str, str]:
        """The label values of an endpoint: a name that nobody configured is `other`."""
        return (provider, model) if (provider, model) in self._known else (provider, OTHER)


class _Together(Collector):
    """What is added up already, for the library to write."""

    def __init__(self, found: list[Family]) -> None:
        self._found = found

    def collect(self) -> Iterator[Metric]:
        """All of it."""
        yield from metrics(self._found)


def _observe(family: dict[Labels, Distribution], labels: Labels, seconds: float) -> None:
    found = family.get(labels)
    if found is None:
        found = family[labels] = Distribution()
    found.add(seconds)


def _counter(
    name: str, text: str, labels: Labels, counts: Mapping[Labels, float]
) -> CounterMetricFamily:
    family = CounterMetricFamily(f"kproxy_{name}", text, labels=labels)
    for key, count in dict(counts).items():
        family.add_metric(key, count)
    return family


def _histogram(
    name: str, text: str, labels: Labels, observed: Mapping[Labels, Distribution]
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(f"kproxy_{name}", text, labels=labels)
    for key, distribution in dict(observed).items():
        family.add_metric(key, distribution.buckets(), distribution.total)
    return family

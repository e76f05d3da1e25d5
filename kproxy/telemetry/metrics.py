"""What operators count: one registry, few labels with bounded values, rendered as text.

Children are looked up once and kept, because a labelled look-up costs more than the count itself.
Only configured models become label values; names that a passthrough provider takes are `other`.
"""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from kproxy.errors import FaultKind
from kproxy.outcome import Ending, Usage

__all__ = ["METRICS_TYPE", "Metrics"]

METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
"""Buckets from a local model's first token to the total deadline of a long answer."""

OTHER = "other"


class Metrics:
    """Counters of one process. Everything is synchronous and cheap but `render`."""

    def __init__(self, models: Iterable[tuple[str, str]]) -> None:
        """`models` are the (provider, model) pairs that become label values."""
        self.registry = CollectorRegistry()
        self._known = frozenset(models)
        self._requests = Counter(
            "kproxy_requests", "Requests answered.", ("route", "status"), registry=self.registry
        )
        self._duration = Histogram(
            "kproxy_request_duration_seconds",
            "From the request's head to the end of its response.",
            ("route",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self._first_token = Histogram(
            "kproxy_first_token_seconds",
            "From the request's head to the first token.",
            ("provider", "model"),
            buckets=SECONDS,
            registry=self.registry,
        )
        self._attempts = Counter(
            "kproxy_attempts",
            "Attempts at providers by how they ended.",
            ("provider", "model", "ending"),
            registry=self.registry,
        )
        self._faults = Counter(
            "kproxy_faults",
            "Failed attempts by what failed.",
            ("provider", "fault"),
            registry=self.registry,
        )
        self._tokens = Counter(
            "kproxy_tokens", "Tokens used.", ("provider", "model", "type"), registry=self.registry
        )
        self._cost = Counter(
            "kproxy_cost_usd", "Cost in USD.", ("provider", "model"), registry=self.registry
        )
        self._children: dict[tuple[object, ...], Counter | Histogram] = {}

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Add a gauge that is read when it is rendered."""
        Gauge(name, text, registry=self.registry).set_function(value)

    def watch_each(
        self,
        name: str,
        text: str,
        labels: tuple[str, ...],
        values: Mapping[tuple[str, ...], Callable[[], float]],
    ) -> None:
        """Add a gauge with labels: one value for each tuple of label values."""
        gauge = Gauge(name, text, labels, registry=self.registry)
        for key, value in values.items():
            gauge.labels(*key).set_function(value)

    def request(self, route: str, status: int, seconds: float) -> None:
        """One request has been answered, whatever the answer; status 0: the caller had left."""
        label = "cancelled" if status == 0 else str(status)
        self._count(self._requests, route, label).inc()
        self._observe(self._duration, route).observe(seconds)

    def first_token(self, provider: str, model: str, seconds: float) -> None:
        """The first token of an answer has come."""
        self._observe(self._first_token, *self._labels(provider, model)).observe(seconds)

    def attempt(self, provider: str, model: str, ending: Ending) -> None:
        """An attempt has ended."""
        self._count(self._attempts, *self._labels(provider, model), ending.value).inc()

    def fault(self, provider: str, kind: FaultKind) -> None:
        """An attempt has failed."""
        self._count(self._faults, provider, kind.value).inc()

    def used(self, provider: str, model: str, usage: Usage, cost: int | None) -> None:
        """An answer is complete: tokens, and nano-dollars where the price is known."""
        labels = self._labels(provider, model)
        self._count(self._tokens, *labels, "prompt").inc(usage.prompt_tokens)
        self._count(self._tokens, *labels, "completion").inc(usage.completion_tokens)
        if cost:
            self._count(self._cost, *labels).inc(cost / 1e9)

    def render(self) -> bytes:
        """The text exposition. Takes milliseconds: call it in a thread."""
        return generate_latest(self.registry)

    def _labels(self, provider: str, model: str) -> tuple[str, str]:
        return (provider, model) if (provider, model) in self._known else (provider, OTHER)

    def _count(self, family: Counter, *labels: str) -> Counter:
        key = (family, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = family.labels(*labels)
        assert isinstance(child, Counter)
        return child

    def _observe(self, family: Histogram, *labels: str) -> Histogram:
        key = (family, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = family.labels(*labels)
        assert isinstance(child, Histogram)
        return child

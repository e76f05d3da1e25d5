"""Families in, Prometheus' text out. prometheus-client is known here alone.

Importing it brings an HTTP server and client, mail and HTML along: 2.5 MB and 12 ms. So this module
is imported by whoever is the first to ask for metrics, and that is in a thread.
"""

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from kproxy.telemetry.pooled import Family

__all__ = ["written"]


class _Found(Collector):
    """What is collected already."""

    def __init__(self, found: Iterable[Family]) -> None:
        self._found = found

    def collect(self) -> Iterator[Metric]:
        """For the registry."""
        for family in self._found:
            metric = Metric(family.name, family.text, family.kind)
            for name, labels, value in family.samples:
                metric.add_sample(name, dict(labels), value)
            yield metric


def written(found: Iterable[Family]) -> bytes:
    """The text exposition (version 0.0.4)."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Found(found))
    return generate_latest(registry)

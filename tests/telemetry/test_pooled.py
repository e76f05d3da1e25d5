"""Several processes' metrics as one: what adds up, what does not, what lasts."""

import msgspec
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

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

RULES: dict[str, Merge] = {"lag": "max", "healthy": "min", "refused": "total"}


def process(requests: dict[str, float], *, gauge: float = 0.0) -> list[Family]:
    counter = CounterMetricFamily("requests", "Requests.", labels=("route",))
    for route, count in requests.items():
        counter.add_metric((route,), count)
    times = HistogramMetricFamily("seconds", "Seconds.")
    times.add_metric((), [("1.0", gauge), ("+Inf", gauge + 1)], gauge * 2)
    gauges = [GaugeMetricFamily(name, "G.", value=gauge) for name in ("open", *RULES)]
    return families([counter, times, *gauges])


def values(found: list[Family]) -> dict[str, float]:
    return {
        f"{name}{dict(labels) or ''}": value
        for family in found
        for name, labels, value in family.samples
    }


def test_counters_and_histograms_add_up_and_gauges_by_their_rule() -> None:
    one = process({"/a": 1, "/b": 2}, gauge=3)
    other = process({"/b": 5, "/c": 7}, gauge=1)
    assert values(add_up([one, other], RULES)) == {
        "requests_total{'route': '/a'}": 1,
        "requests_total{'route': '/b'}": 7,
        "requests_total{'route': '/c'}": 7,
        "seconds_bucket{'le': '1.0'}": 4,
        "seconds_bucket{'le': '+Inf'}": 6,
        "seconds_count": 6,
        "seconds_sum": 8,
        "open": 4,
        "lag": 3,
        "healthy": 1,
        "refused": 4,
    }


def test_of_who_is_gone_only_what_counts_is_kept() -> None:
    kept = lasting(process({"/a": 1}, gauge=3), RULES)
    assert [family.name for family in kept] == ["requests", "seconds", "refused"]


def test_what_only_one_of_them_has_is_there() -> None:
    only = families([Metric("more", "More.", "gauge")])
    assert [one.name for one in add_up([process({}), only], RULES)][-1] == "more"


def test_through_bytes_and_the_library_it_is_the_same() -> None:
    found = process({'/a"\n\\': 1.5}, gauge=2)
    assert decode(encode(found)) == found

    def text(of: list[Metric]) -> bytes:
        registry = CollectorRegistry(auto_describe=False)

        class Collected:
            def collect(self) -> list[Metric]:
                return of

        registry.register(Collected())  # type: ignore[arg-type]
        return generate_latest(registry)

    assert families(metrics(found)) == found
    assert text(metrics(found)).splitlines()[2] == b'requests_total{route="/a\\"\\n\\\\"} 1.5'


def test_nothing_else_is_decoded() -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(b"\x93abc")

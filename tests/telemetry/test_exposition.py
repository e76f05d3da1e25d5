"""The text for operators: each kind as the library itself would write it."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from kproxy.telemetry.exposition import written
from kproxy.telemetry.metrics import SECONDS, Metrics
from kproxy.telemetry.pooled import Family


def lines(text: bytes, name: bytes) -> list[bytes]:
    """What the text says of one metric, without the library's times of creation."""
    found = [line for line in text.splitlines() if name in line]
    return [line for line in found if b"_created" not in line]


def test_it_is_what_the_library_writes_for_metrics_of_its_own() -> None:
    ours = Metrics([])
    ours.request('/a"\n\\', 200, 0.3)
    ours.request('/a"\n\\', 200, 40)
    ours.watch("kproxy_sockets", "Sockets.", lambda: 7)

    registry = CollectorRegistry()
    route = {"route": '/a"\n\\'}
    counter = Counter(
        "kproxy_requests", "Requests answered.", ("route", "status"), registry=registry
    )
    counter.labels(**route, status="200").inc(2)
    text = "From the request's head to the end of its response."
    name = "kproxy_request_duration_seconds"
    times = Histogram(name, text, ("route",), registry=registry, buckets=SECONDS)
    times.labels(**route).observe(0.3)
    times.labels(**route).observe(40)
    Gauge("kproxy_sockets", "Sockets.", registry=registry).set(7)

    found, wanted = ours.render(), generate_latest(registry)
    for known in (b"kproxy_requests_total", name.encode(), b"kproxy_sockets"):
        assert sorted(lines(found, known)) == sorted(lines(wanted, known))


def test_a_metric_without_samples_is_named() -> None:
    text = written([Family("kproxy_faults", "Failed attempts.", "counter", ())])
    assert text.splitlines() == [
        b"# HELP kproxy_faults_total Failed attempts.",
        b"# TYPE kproxy_faults_total counter",
    ]

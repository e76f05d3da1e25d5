"""The body of GET /v1/performance, member for member (contract section 5)."""

import json

from kproxy.schema.performance import (
    Percentiles,
    RoutePerformance,
    Throughput,
    performance_body,
)


def test_the_body() -> None:
    seen = Percentiles(1.0, 2.0, 3.0, 4.0)
    full = RoutePerformance("acme", "m", 7, True, seen, seen, Throughput(50.0), 0.25, "closed", 0.0)
    bare = RoutePerformance("acme", "n", 0, False, None, None, None, 0.0, "open", 1500.0)
    figures = {"p50": 1.0, "p75": 2.0, "p95": 3.0, "p99": 4.0}
    assert json.loads(performance_body((full, bare), 300)) == {
        "object": "list",
        "window_seconds": 300,
        "data": [
            {
                "provider": "acme",
                "model": "m",
                "samples": 7,
                "sufficient": True,
                "latency_ms": figures,
                "first_token_ms": figures,
                "throughput_tps": {"p50": 50.0},
                "error_rate": 0.25,
                "breaker": "closed",
                "resting_ms": 0.0,
            },
            {
                "provider": "acme",
                "model": "n",
                "samples": 0,
                "sufficient": False,
                "latency_ms": None,
                "first_token_ms": None,
                "throughput_tps": None,
                "error_rate": 0.0,
                "breaker": "open",
                "resting_ms": 1500.0,
            },
        ],
    }

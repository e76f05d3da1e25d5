"""What the routes have shown goes in; the body of `GET /v1/performance` comes out (section 5)."""

from typing import Literal

import msgspec

__all__ = ["Percentiles", "RoutePerformance", "Throughput", "performance_body"]


class Percentiles(msgspec.Struct, frozen=True):
    """Milliseconds."""

    p50: float
    p75: float
    p95: float
    p99: float


class Throughput(msgspec.Struct, frozen=True):
    """Tokens per second."""

    p50: float


class RoutePerformance(msgspec.Struct, frozen=True):
    """One model at one provider; a figure is null where nothing was observed for it."""

    provider: str
    model: str
    samples: int
    sufficient: bool
    latency_ms: Percentiles | None
    first_token_ms: Percentiles | None
    throughput_tps: Throughput | None
    error_rate: float
    breaker: str
    resting_ms: float  # until it may be asked again; 0: it may


class _Performance(msgspec.Struct, frozen=True):
    data: tuple[RoutePerformance, ...]
    window_seconds: int
    object: Literal["list"] = "list"


_encode = msgspec.json.Encoder().encode


def performance_body(routes: tuple[RoutePerformance, ...], window_seconds: int) -> bytes:
    """The list as JSON, in the order given."""
    return _encode(_Performance(routes, window_seconds))

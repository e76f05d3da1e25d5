"""Routes of several processes: what one has learned holds for the others."""

import pytest

from kproxy.errors import Fault, FaultKind
from kproxy.routing.health import BreakerParams
from kproxy.routing.live import LONGEST, NAMES, HealthParams, Routes

PARAMS = HealthParams(BreakerParams(failures=2, rest=10.0, longest_rest=40.0), 30.0)
DOWN = Fault(FaultKind.UNAVAILABLE, "HTTP 503", status=503)
REFUSED = Fault(FaultKind.CREDENTIAL, "HTTP 401", status=401)
BUSY = Fault(FaultKind.RATE_LIMITED, "HTTP 429", status=429, retry_after=90.0)


@pytest.fixture
def pair() -> tuple[Routes, Routes]:
    keys = ("a/m", "a/n", "b/m")
    return Routes(keys, PARAMS), Routes(keys, PARAMS)


def rests(routes: Routes, now: float) -> dict[str, float]:
    shown = routes.snapshot(now)
    return {key: live.resting for key, live in shown.items() if live.resting}


def test_figures_are_those_of_all(pair: tuple[Routes, Routes]) -> None:
    one, other = pair
    for routes, took in ((one, 1.0), (other, 2.0), (other, 4.0)):
        grant = routes.admit("a/m", 1.0)
        grant.first_token(1.0, took / 2)
        grant.complete(1.0, took, 10.0)
    one.admit("a/m", 1.0).failed(1.0, DOWN, accrued=True)
    assert one.snapshot(1.0)["a/m"].measured.samples == 1
    one.hear([other.news(1.0)], 2.0)
    other.hear([one.news(1.0)], 2.0)
    measured = one.snapshot(2.0)["a/m"].measured
    assert measured.samples == 3
    assert measured.sufficient
    assert measured.error_rate == 1 / 4
    assert measured == other.snapshot(2.0)["a/m"].measured
    one.hear([], 3.0)
    assert one.snapshot(3.0)["a/m"].measured.samples == 1, "the other one is gone"


def test_news_are_what_has_changed_and_what_has_expired(pair: tuple[Routes, Routes]) -> None:
    one, _ = pair
    assert dict(one.news(0.0).seen) == {}
    one.admit("a/m", 1.0).complete(1.0, 1.0, None)
    assert one.news(1.0).seen["a/m"].attempts == 1
    one.admit("a/m", 2.0).complete(2.0, 1.0, None)
    assert one.news(2.0).seen["a/m"].attempts == 2
    assert dict(one.news(400.0).seen) == {}


def test_a_route_that_failed_elsewhere_is_left_alone(pair: tuple[Routes, Routes]) -> None:
    one, other = pair
    for _ in range(2):
        one.admit("a/m", 1.0).failed(1.0, DOWN, accrued=True)
    one.admit("b/m", 1.0).failed(1.0, BUSY, accrued=False)
    other.snapshot(1.0)
    other.hear([one.news(2.0)], 2.0)
    assert rests(other, 2.0) == rests(one, 2.0) == {"a/m": 9.0, "b/m": 89.0}
    with pytest.raises(Fault, match="not asked"):
        other.admit("a/m", 10.9)
    assert other.snapshot(11.0)["a/m"].due


def test_a_key_that_was_refused_elsewhere_is_not_tried(pair: tuple[Routes, Routes]) -> None:
    one, other = pair
    one.admit("a/m", 1.0).failed(1.0, REFUSED, accrued=False)
    other.hear([one.news(2.0)], 2.0)
    assert rests(other, 2.0) == {"a/m": 29.0, "a/n": 29.0}


def test_names_that_nobody_lists_are_told_of_but_not_learned(pair: tuple[Routes, Routes]) -> None:
    one, other = pair
    for name in ("x", "y", "z" * LONGEST):
        one.admit(f"a/{name}", 1.0).complete(1.0, 1.0, None)
    news = one.news(1.0)
    assert list(news.seen) == ["a/y", "a/x"], "the last one first, and none that is too long"
    other.admit("a/x", 1.0).abandoned(1.0, None)
    other.hear([news], 1.0)
    shown = other.snapshot(2.0)
    assert shown["a/x"].measured.samples == 1
    assert "a/y" not in shown
    for number in range(2 * NAMES):
        one.admit(f"a/{number}", 1.0).complete(1.0, 1.0, None)
    assert len(one.news(1.0).seen) == NAMES

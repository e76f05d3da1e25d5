"""Routes behind a queue that is too long are left out, whoever lists them."""

from kproxy.routing.live import UNKNOWN, Live
from kproxy.routing.queues import LONGEST, without_queues
from kproxy.routing.window import Window

SEEN = Live(Window().measure(0.0), breaker="closed")
RESTING = Live(SEEN.measured, 4.0, "it failed", "open")
ROUTES = {"a/m": SEEN, "a/n": RESTING, "b/m": SEEN}


def test_without_a_queue_nothing_changes() -> None:
    assert without_queues(ROUTES, {}, ["a/m"]) is ROUTES


def test_every_route_of_the_provider_rests() -> None:
    found = without_queues(ROUTES, {"a": 7.0}, ["auto"])
    assert found["a/m"].resting == 7.0
    assert "wait for one" in found["a/m"].why
    assert found["a/n"] == RESTING, "why it rests is said already"
    assert found["b/m"] is SEEN
    assert set(found) == set(ROUTES)


def test_a_name_that_nobody_lists() -> None:
    found = without_queues(ROUTES, {"a": 7.0}, ["a/invented", "b/invented"])
    assert found["a/invented"].resting == 7.0
    assert found.get("b/invented", UNKNOWN).resting == 0


def test_nobody_is_sent_away_for_long() -> None:
    assert without_queues(ROUTES, {"a": 500.0}, [])["a/m"].resting == LONGEST

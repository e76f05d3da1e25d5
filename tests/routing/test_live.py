"""Routes: who is admitted, what each ending says of a route, and what a snapshot shows."""

import pytest

from kproxy.errors import Fault, FaultKind
from kproxy.routing.health import BreakerParams
from kproxy.routing.live import NAMES, REFRESH, UNKNOWN, HealthParams, Routes

PARAMS = HealthParams(BreakerParams(failures=2, rest=10.0, longest_rest=40.0), 30.0)
DOWN = Fault(FaultKind.UNAVAILABLE, "HTTP 503", status=503)
REFUSED = Fault(FaultKind.CREDENTIAL, "HTTP 401", status=401)


def routes(*keys: str) -> Routes:
    return Routes(keys or ("a/m", "a/n", "b/m"), PARAMS)


def fail(
    routes: Routes, key: str, now: float, fault: Fault = DOWN, *, accrued: bool = True
) -> None:
    routes.admit(key, now).failed(now, fault, accrued=accrued)


def resting(routes: Routes, key: str, now: float) -> float:
    """For how long the route says that it must be left alone; 0: it admits."""
    try:
        grant = routes.admit(key, now)
    except Fault as fault:
        return (fault.retry_after or 0.0) if fault.kind is FaultKind.RESTING else -1.0
    grant.abandoned(now, None)
    return 0.0


def test_a_route_that_fails_again_and_again_is_left_alone() -> None:
    known = routes()
    fail(known, "a/m", 1.0)
    assert resting(known, "a/m", 1.0) == 0
    fail(known, "a/m", 2.0)
    assert resting(known, "a/m", 3.0) == 9.0
    assert resting(known, "a/n", 3.0) == 0, "another model of the same provider is another route"
    live = known.snapshot(3.0)["a/m"]
    assert (live.resting, live.breaker) == (9.0, "open")


def test_what_is_not_the_routes_doing_does_not_count() -> None:
    known = routes()
    for _ in range(5):
        fail(known, "a/m", 1.0, accrued=False)
    assert resting(known, "a/m", 1.0) == 0


def test_after_its_rest_one_probe_is_let_through() -> None:
    known = routes()
    fail(known, "a/m", 0.0)
    fail(known, "a/m", 0.0)
    probe = known.admit("a/m", 10.0)
    assert resting(known, "a/m", 10.0) == 20.0, "for as long as it would rest next"
    assert known.snapshot(10.0)["a/m"].breaker == "half_open"
    probe.first_token(11.0, 1.0)
    assert resting(known, "a/m", 11.0) == 0, "its stream may go on for minutes"
    assert known.snapshot(11.0)["a/m"].breaker == "closed"
    probe.failed(60.0, DOWN, accrued=True)
    assert resting(known, "a/m", 60.0) == 0
    fail(known, "a/m", 60.0)
    assert resting(known, "a/m", 60.0) == 20.0, "how the stream ended counts, and it rests longer"


def test_a_probe_that_takes_too_long_keeps_nobody_out() -> None:
    known = routes()
    fail(known, "a/m", 0.0)
    fail(known, "a/m", 0.0)
    slow = known.admit("a/m", 10.0)
    assert resting(known, "a/m", 29.0) == 1.0
    known.admit("a/m", 30.0).complete(31.0, 1.0, None)
    assert resting(known, "a/m", 31.0) == 0
    slow.failed(90.0, DOWN, accrued=True)
    assert resting(known, "a/m", 90.0) == 0, "its turn is over"


def test_a_probe_without_a_verdict_leaves_the_probe_to_the_next() -> None:
    known = routes()
    fail(known, "a/m", 0.0)
    fail(known, "a/m", 0.0)
    known.admit("a/m", 10.0).abandoned(10.5, None)
    probe = known.admit("a/m", 10.5)
    probe.complete(11.0, 0.5, None)
    assert resting(known, "a/m", 11.0) == 0


def test_a_refused_key_closes_every_model_of_its_provider() -> None:
    known = routes()
    fail(known, "a/m", 0.0, REFUSED)
    assert resting(known, "a/n", 1.0) == 29.0
    assert resting(known, "b/m", 1.0) == 0
    assert "refuses our key" in known.snapshot(1.0)["a/n"].why
    fail(known, "a/n", 30.0, REFUSED)
    assert resting(known, "a/m", 31.0) == 29.0, "again"
    known.admit("a/m", 60.0).refused(60.0)
    assert resting(known, "a/n", 60.0) == 0, "a 400 is an answer: the key was taken"


def test_a_provider_that_cannot_be_reached_rests_with_all_its_models() -> None:
    known = routes()
    unreached = Fault(FaultKind.CONNECT, "refused")
    fail(known, "a/m", 0.0, unreached)
    fail(known, "a/n", 0.0, unreached)
    assert resting(known, "a/m", 1.0) == resting(known, "a/n", 1.0) == 9.0
    assert resting(known, "b/m", 1.0) == 0


def test_an_answer_of_any_kind_shows_that_it_can_be_reached() -> None:
    known = routes()
    unreached = Fault(FaultKind.CONNECT, "refused")
    fail(known, "a/m", 0.0, unreached)
    fail(known, "a/n", 0.0)
    fail(known, "a/m", 0.0, unreached)
    assert resting(known, "a/n", 1.0) == 0


def test_a_refusal_of_the_content_does_not_make_a_dead_route_look_alive() -> None:
    known = routes()
    fail(known, "a/m", 0.0)
    known.admit("a/m", 0.0).refused(0.0)
    fail(known, "a/m", 0.0)
    assert resting(known, "a/m", 1.0) == 9.0


def test_a_name_that_nobody_listed_says_nothing_of_its_provider() -> None:
    known = routes()
    fail(known, "a/invented", 0.0, REFUSED)
    assert resting(known, "a/invented", 1.0) == 29.0
    assert resting(known, "a/m", 1.0) == 0


def test_who_is_due_for_a_probe_is_known() -> None:
    known = routes()
    fail(known, "a/m", 0.0)
    fail(known, "a/m", 0.0)
    assert not known.snapshot(9.0)["a/m"].due
    assert known.snapshot(10.0)["a/m"].due
    assert not known.snapshot(10.0)["a/n"].due


def test_a_403_is_the_routes_alone() -> None:
    known = routes()
    forbidden = Fault(FaultKind.CREDENTIAL, "HTTP 403", status=403)
    fail(known, "a/m", 0.0, forbidden)
    assert resting(known, "a/n", 0.0) == 0
    fail(known, "a/m", 0.0, forbidden)
    assert resting(known, "a/m", 0.0) == 10.0


def test_when_one_breaker_refuses_the_others_probe_is_given_back() -> None:
    known = routes()
    fail(known, "a/m", 0.0, REFUSED)
    known.admit("b/m", 0.0).abandoned(0.0, None)
    wait = Fault(FaultKind.RATE_LIMITED, "HTTP 429", status=429, retry_after=99.0)
    fail(known, "a/n", 0.0 + 30.0, REFUSED)
    known.admit("a/n", 60.0).failed(60.0, wait, accrued=True)
    fail(known, "a/m", 60.0, REFUSED)
    assert resting(known, "a/n", 90.0) == 69.0, "the provider is due, this route rests"
    assert resting(known, "a/m", 90.0) == 0, "the probe was given back"


def test_a_provider_that_named_a_time_is_left_alone_until_then() -> None:
    known = routes()
    wait = Fault(FaultKind.RATE_LIMITED, "HTTP 429", status=429, retry_after=7.0)
    fail(known, "a/m", 1.0, wait)
    assert resting(known, "a/m", 2.0) == 6.0
    assert resting(known, "a/m", 8.0) == 0


def test_a_snapshot_shows_what_was_seen() -> None:
    known = routes()
    for _ in range(3):
        grant = known.admit("a/m", 1.0)
        grant.first_token(1.0, 0.2)
        grant.complete(2.0, 1.2, 50.0)
    fail(known, "a/m", 2.0)
    seen = known.snapshot(3.0)["a/m"].measured
    assert (seen.samples, seen.waits_samples, seen.error_rate) == (3, 3, 0.25)
    assert seen.first_token is not None
    assert seen.first_token.p50 == pytest.approx(0.2, rel=0.1)
    assert seen.total is not None
    assert seen.total.p50 == pytest.approx(1.2, rel=0.1)
    assert seen.throughput_p50 == pytest.approx(50, rel=0.1)


def test_who_waited_in_vain_counts_with_what_it_waited() -> None:
    known = routes()
    known.admit("a/m", 1.0).abandoned(1.0, 4.0)
    known.admit("a/m", 1.0).abandoned(1.0, None)
    seen = known.snapshot(2.0)["a/m"].measured
    assert (seen.waits_samples, seen.samples, seen.error_rate) == (1, 0, 0.0)
    assert seen.first_token is None, "it had none"


def test_a_snapshot_is_made_when_it_is_due_or_health_has_changed() -> None:
    known = routes()
    first = known.snapshot(1.0)
    assert first["a/m"] == UNKNOWN
    known.admit("a/m", 1.0).complete(1.0, 1.0, None)
    assert known.snapshot(1.0 + REFRESH / 2) is first
    assert known.snapshot(1.0 + REFRESH)["a/m"].measured.samples == 1
    fail(known, "a/m", 1.3)
    assert known.snapshot(1.3)["a/m"].measured.error_rate == 0.5


def test_a_probe_that_is_out_is_seen_at_once() -> None:
    known = routes()
    fail(known, "a/m", 0.0)
    fail(known, "a/m", 0.0)
    assert known.snapshot(10.0)["a/m"].breaker == "open"
    known.admit("a/m", 10.0)
    assert known.snapshot(10.0)["a/m"].breaker == "half_open"


def test_figures_pass_with_time() -> None:
    known = routes()
    known.admit("a/m", 1.0).complete(1.0, 1.0, None)
    assert known.snapshot(2.0)["a/m"].measured.samples == 1
    assert known.snapshot(400.0)["a/m"].measured.samples == 0


def test_names_that_nobody_listed_are_remembered_to_a_bound() -> None:
    known = routes()
    fail(known, "a/x", 0.0)
    fail(known, "a/x", 0.0)
    assert resting(known, "a/x", 1.0) > 0
    for number in range(NAMES - 1):
        resting(known, f"a/{number}", 1.0)
    assert resting(known, "a/x", 1.0) > 0, "used last, forgotten last"
    for number in range(NAMES):
        resting(known, f"a/{number}", 1.0)
    assert resting(known, "a/x", 1.0) == 0
    assert len(known.snapshot(9.0)) == 3 + NAMES

"""Another list of routes under way: what is known of one that stays, stays."""

from kproxy.errors import Fault, FaultKind
from kproxy.routing.health import BreakerParams
from kproxy.routing.live import UNKNOWN, HealthParams, Routes

PARAMS = HealthParams(BreakerParams(failures=2, rest=10.0, longest_rest=40.0), 30.0)
DOWN = Fault(FaultKind.UNAVAILABLE, "HTTP 503", status=503)
REFUSED = Fault(FaultKind.CREDENTIAL, "HTTP 401", status=401)


def known() -> Routes:
    """`a/m` rests, for two failures of its own; `b/m` since its provider refuses our key."""
    routes = Routes(["a/m", "a/n", "b/m"], PARAMS)
    routes.admit("a/m", 0.0).complete(1.0, 1.0, None)
    for _ in range(2):
        routes.admit("a/m", 1.0).failed(1.0, DOWN, accrued=True)
    routes.admit("b/m", 1.0).failed(1.0, REFUSED, accrued=True)
    return routes


def test_what_stays_and_what_is_new() -> None:
    routes = known()
    before = routes.snapshot(2.0)
    routes.renew(["a/m", "b/m", "c/m"], PARAMS)
    after = routes.snapshot(2.0)
    assert {key: after[key] for key in ("a/m", "b/m")} == {
        key: before[key] for key in ("a/m", "b/m")
    }
    assert after["a/m"].resting == 9.0
    assert after["b/m"].resting == 29.0
    assert after["c/m"] == UNKNOWN
    assert "a/n" not in after


def test_a_provider_at_another_address_is_another_one() -> None:
    routes = known()
    routes.renew(["a/m", "b/m"], PARAMS, moved={"a"})
    after = routes.snapshot(2.0)
    assert after["a/m"] == UNKNOWN
    assert after["b/m"].resting == 29.0


def test_a_new_key_ends_the_rest_of_the_old_one_alone() -> None:
    routes = known()
    routes.renew(["a/m", "b/m"], PARAMS, rekeyed={"a", "b"})
    after = routes.snapshot(2.0)
    assert after["b/m"].resting == 0.0
    assert after["a/m"].resting == 9.0, "its own failures were not the key's"
    assert after["a/m"].measured.samples == 1


def test_other_numbers_count_from_now_on() -> None:
    routes = Routes(["a/m"], PARAMS)
    routes.renew(["a/m"], HealthParams(BreakerParams(failures=1, rest=3.0), 30.0))
    routes.admit("a/m", 0.0).failed(0.0, DOWN, accrued=True)
    assert routes.snapshot(0.0)["a/m"].resting == 3.0


def test_attempts_under_way_end_where_they_began() -> None:
    routes = known()
    grant = routes.admit("a/n", 0.0)
    routes.renew(["b/m"], PARAMS)
    grant.failed(3.0, DOWN, accrued=True)
    assert set(routes.snapshot(3.0)) == {"b/m"}


def test_a_name_that_is_listed_now_is_no_invented_one() -> None:
    routes = Routes(["a/m"], PARAMS)
    routes.admit("a/x", 0.0).complete(0.0, 1.0, None)
    routes.admit("c/x", 0.0).complete(0.0, 1.0, None)
    routes.renew(["a/m", "a/x"], PARAMS, moved={"c"})
    assert set(routes.snapshot(0.0)) == {"a/m", "a/x"}


def test_what_others_say_of_the_old_key_counts_no_more() -> None:
    """Each worker reads the new key by itself, one a moment before the other."""
    first, second = known(), known()
    first.renew(["a/m", "b/m"], PARAMS, moved={"a"}, rekeyed={"b"})
    first.hear([second.news(2.0)], 2.0)
    live = first.snapshot(2.0)
    assert (live["b/m"].resting, live["a/m"].resting) == (0.0, 0.0)
    second.renew(["a/m", "b/m"], PARAMS, moved={"a"}, rekeyed={"b"})
    second.admit("b/m", 5.0).failed(5.0, REFUSED, accrued=True)
    first.hear([second.news(5.0)], 5.0)
    assert first.snapshot(5.0)["b/m"].resting == 30.0, "the new key is refused, too"

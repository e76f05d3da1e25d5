"""Breakers of several processes that ask the same endpoint: rests are kept by all."""

from kproxy.routing.health import Breaker, BreakerParams, BreakerState, Event, Permit

PARAMS = BreakerParams(failures=3, rest=5.0, longest_rest=60.0)


def admitted(breaker: Breaker, now: float) -> Permit:
    permit = breaker.admit(now)
    assert permit is not None
    return permit


def opened() -> Breaker:
    breaker = Breaker(PARAMS)
    for _ in range(PARAMS.failures):
        breaker.ended(admitted(breaker, 0.0), Event.FAILURE, 0.0)
    return breaker


def test_others_rests_are_kept_and_then_probed() -> None:
    own, theirs = Breaker(PARAMS), opened()
    assert theirs.rests(1.0) == (PARAMS.rest, 0.0)
    assert own.heed(*theirs.rests(1.0), 1.0)
    assert own.admit(1.0) is None
    assert own.standing(1.0) == theirs.standing(1.0)
    assert not own.heed(*theirs.rests(1.0), 1.0), "nothing new"
    probe = admitted(own, PARAMS.rest)
    assert probe.probe
    assert own.admit(PARAMS.rest) is None, "the only one of this process"
    own.ended(probe, Event.SUCCESS, PARAMS.rest)
    assert own.rests(PARAMS.rest) == (0.0, 0.0)
    assert not admitted(own, PARAMS.rest).probe


def test_a_failed_probe_of_another_is_a_rest_for_all() -> None:
    own, theirs = Breaker(PARAMS), opened()
    own.heed(*theirs.rests(1.0), 1.0)
    theirs.ended(admitted(theirs, 5.0), Event.FAILURE, 6.0)
    assert own.heed(*theirs.rests(6.0), 6.0)
    assert own.admit(15.9) is None
    assert admitted(own, 16.0).probe


def test_a_penalty_is_heeded_and_no_success_ends_it() -> None:
    own, theirs = Breaker(PARAMS), Breaker(PARAMS)
    permit = admitted(own, 0.0)
    theirs.penalise(50.0, 0.0)
    assert own.heed(*theirs.rests(1.0), 1.0)
    own.ended(permit, Event.SUCCESS, 2.0)
    assert own.admit(49.0) is None
    assert not admitted(own, 50.0).probe
    assert own.standing(50.0).state is BreakerState.CLOSED


def test_two_who_tell_each_other_do_not_keep_each_other_resting() -> None:
    one, other = opened(), Breaker(PARAMS)
    other.heed(*one.rests(1.0), 1.0)
    now = PARAMS.rest
    one.ended(admitted(one, now), Event.SUCCESS, now)
    for _ in range(5):
        now += 0.5
        one.heed(*other.rests(now), now)
        other.heed(*one.rests(now), now)
    assert not admitted(one, now).probe
    assert admitted(other, now).probe


def test_what_is_over_or_within_rounding_is_not_heeded() -> None:
    own = Breaker(PARAMS)
    assert not own.heed(4.0, 5.0, 5.0)
    assert not own.heed(5.001, 0.0, 5.0)
    assert own.standing(5.0).state is BreakerState.CLOSED

"""The breaker's table, its times to the second, and laws over any history of attempts."""

import math
from itertools import product

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace

from kproxy.routing.health import (
    LONGEST_PENALTY,
    MOVES,
    Breaker,
    BreakerParams,
    BreakerState,
    Event,
    Permit,
    Standing,
    Verdict,
)

CLOSED, OPEN, HALF_OPEN = BreakerState
ADMIT, SUCCESS, FAILURE, ABANDONED = Event
PARAMS = BreakerParams(failures=3, rest=5.0, longest_rest=60.0)


def admitted(breaker: Breaker, now: float) -> Permit:
    permit = breaker.admit(now)
    assert permit is not None
    return permit


def fail(breaker: Breaker, now: float, times: int = 1) -> None:
    for _ in range(times):
        breaker.ended(admitted(breaker, now), FAILURE, now)


def opened() -> Breaker:
    breaker = Breaker(PARAMS)
    fail(breaker, 0.0, times=3)
    return breaker


def in_state(state: BreakerState) -> tuple[Breaker, Permit]:
    """A breaker that is in this state at 10 s, and the last permit that it gave to the test."""
    breaker = Breaker(PARAMS)
    permit = admitted(breaker, 0.0)
    if state is not CLOSED:
        fail(breaker, 0.0, times=3)
    if state is HALF_OPEN:
        permit = admitted(breaker, 10.0)
    return breaker, permit


NEXT = {
    (CLOSED, ADMIT): CLOSED,
    (CLOSED, SUCCESS): CLOSED,
    (CLOSED, FAILURE): CLOSED,
    (CLOSED, ABANDONED): CLOSED,
    (OPEN, ADMIT): HALF_OPEN,
    (OPEN, SUCCESS): OPEN,
    (OPEN, FAILURE): OPEN,
    (OPEN, ABANDONED): OPEN,
    (HALF_OPEN, ADMIT): HALF_OPEN,
    (HALF_OPEN, SUCCESS): CLOSED,
    (HALF_OPEN, FAILURE): OPEN,
    (HALF_OPEN, ABANDONED): OPEN,
}


def test_the_table_is_total() -> None:
    assert set(MOVES) == set(NEXT) == set(product(BreakerState, Event))
    assert {key for key, move in MOVES.items() if move is None} == {
        (CLOSED, ABANDONED),
        (OPEN, SUCCESS),
        (OPEN, FAILURE),
        (OPEN, ABANDONED),
    }


@pytest.mark.parametrize(("state", "event"), NEXT, ids=lambda value: value.value)
def test_each_state_meets_each_event(state: BreakerState, event: Event) -> None:
    breaker, permit = in_state(state)
    before = breaker.standing(10.0)
    assert before.state is state
    if event is ADMIT:
        given = breaker.admit(10.0)
        assert (given is None) == (state is HALF_OPEN), "the probe has only just left"
    else:
        breaker.ended(permit, event, 10.0)
    after = breaker.standing(10.0)
    assert after.state is NEXT[state, event]
    if MOVES[state, event] is None:
        assert after == before


def test_it_opens_after_consecutive_failures() -> None:
    breaker = Breaker(PARAMS)
    fail(breaker, 1.0, times=2)
    breaker.ended(admitted(breaker, 1.0), ABANDONED, 1.0)
    assert breaker.standing(1.0) == Standing(CLOSED, None)
    fail(breaker, 2.0)
    assert breaker.standing(2.0) == Standing(OPEN, 7.0)
    assert breaker.standing(2.0).resting(2.0)


def test_a_success_starts_the_count_again() -> None:
    breaker = Breaker(PARAMS)
    for _ in range(5):
        fail(breaker, 0.0, times=2)
        breaker.ended(admitted(breaker, 0.0), SUCCESS, 0.0)
    assert breaker.standing(0.0).state is CLOSED


def test_one_probe_after_the_rest() -> None:
    breaker = opened()
    before = math.nextafter(5.0, 0.0)
    assert breaker.admit(before) is None
    assert breaker.standing(before) == Standing(OPEN, 5.0)
    assert breaker.standing(5.0) == Standing(OPEN, None)
    assert not breaker.standing(5.0).resting(5.0)
    assert admitted(breaker, 5.0).probe
    before = math.nextafter(15.0, 0.0)
    assert breaker.admit(before) is None
    assert breaker.standing(before) == Standing(HALF_OPEN, 15.0)


def test_a_probe_that_is_out_for_longer_than_a_rest_keeps_nobody_out() -> None:
    breaker = opened()
    slow = admitted(breaker, 5.0)
    second = admitted(breaker, 15.0)
    assert second.probe
    breaker.ended(slow, FAILURE, 16.0)
    assert breaker.standing(16.0) == Standing(HALF_OPEN, 25.0), "an old turn's"
    breaker.ended(second, SUCCESS, 17.0)
    assert breaker.standing(17.0) == Standing(CLOSED, None)


def test_each_failed_probe_doubles_the_rest() -> None:
    breaker, now, rests = opened(), 0.0, []
    for _ in range(6):
        until = breaker.standing(now).open_until
        assert until is not None
        rests.append(until - now)
        now = until
        fail(breaker, now)
    assert rests == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]


@pytest.mark.parametrize(("answered", "until"), [(True, 25.0), (False, 40.0)])
def test_a_probe_closes_and_an_answer_resets(answered: bool, until: float) -> None:
    """Who answers probes and fails all else is left alone for longer and longer."""
    breaker = opened()
    fail(breaker, 5.0)
    breaker.ended(admitted(breaker, 15.0), SUCCESS, 16.0)
    assert breaker.standing(16.0) == Standing(CLOSED, None)
    permit = admitted(breaker, 16.0)
    assert not permit.probe
    if answered:
        breaker.ended(permit, SUCCESS, 17.0)
    fail(breaker, 20.0, times=2)
    assert breaker.standing(20.0).state is CLOSED
    fail(breaker, 20.0)
    assert breaker.standing(20.0) == Standing(OPEN, until)


def test_a_probe_without_a_verdict_is_given_back() -> None:
    breaker = opened()
    for now in (5.0, 5.0, 6.0):
        probe = admitted(breaker, now)
        assert probe.probe
        breaker.ended(probe, ABANDONED, now)
        assert breaker.standing(now) == Standing(OPEN, None)
    fail(breaker, 7.0)
    assert breaker.standing(7.0) == Standing(OPEN, 17.0)  # abandoned ones lengthened no rest


def test_a_permit_counts_once() -> None:
    breaker = opened()
    first = admitted(breaker, 5.0)
    breaker.ended(first, ABANDONED, 5.0)
    second = admitted(breaker, 5.0)
    breaker.ended(first, SUCCESS, 5.0)
    assert breaker.standing(5.0).state is HALF_OPEN
    breaker.ended(second, SUCCESS, 5.0)
    assert breaker.standing(5.0).state is CLOSED


@pytest.mark.parametrize("verdict", [SUCCESS, FAILURE, ABANDONED])
def test_a_verdict_of_an_earlier_turn_moves_nothing(verdict: Verdict) -> None:
    breaker = Breaker(PARAMS)
    late = [admitted(breaker, 0.0) for _ in range(9)]
    fail(breaker, 0.0, times=3)

    def arrive(now: float) -> None:
        before = breaker.standing(now)
        for permit in late:
            breaker.ended(permit, verdict, now)
        assert breaker.standing(now) == before

    arrive(1.0)
    probe = admitted(breaker, 5.0)
    arrive(6.0)
    breaker.ended(probe, SUCCESS, 7.0)
    fail(breaker, 8.0, times=2)
    arrive(8.0)
    fail(breaker, 8.0)  # a late success would have made this the first
    assert breaker.standing(8.0) == Standing(OPEN, 18.0)


@pytest.mark.parametrize("state", BreakerState)
def test_a_penalty_rests_in_any_state(state: BreakerState) -> None:
    breaker, permit = in_state(state)
    breaker.penalise(40.0, 10.0)
    breaker.penalise(30.0, 10.0)
    assert breaker.standing(10.0) == Standing(state, 40.0)
    assert breaker.admit(math.nextafter(40.0, 0.0)) is None
    breaker.ended(permit, SUCCESS, 10.0)
    assert breaker.standing(10.0).open_until == 40.0
    assert breaker.standing(10.0).resting(39.0)
    assert not breaker.standing(10.0).resting(40.0)
    assert breaker.admit(40.0) is not None


def test_the_later_of_rest_and_penalty_is_told() -> None:
    breaker = opened()
    breaker.penalise(4.0, 0.0)
    assert breaker.standing(0.0) == Standing(OPEN, 5.0)
    breaker.penalise(6.0, 0.0)
    assert breaker.standing(0.0) == Standing(OPEN, 6.0)
    assert breaker.admit(5.5) is None
    assert admitted(breaker, 6.0).probe


def test_a_penalty_is_an_hour_at_most() -> None:
    breaker = Breaker(PARAMS)
    breaker.penalise(math.inf, 10.0)
    assert breaker.standing(10.0).open_until == 10.0 + LONGEST_PENALTY == 3_610.0


def test_a_bad_credential_rests_at_once_and_one_success_closes_it() -> None:
    breaker = Breaker(PARAMS)
    breaker.open_now(0.0, rest=300.0)
    assert breaker.standing(0.0) == Standing(OPEN, 300.0)
    breaker.open_now(1.0, rest=10.0)
    assert breaker.standing(1.0) == Standing(OPEN, 300.0)
    breaker.ended(admitted(breaker, 300.0), SUCCESS, 301.0)
    assert breaker.standing(301.0) == Standing(CLOSED, None)


@pytest.mark.parametrize("state", [CLOSED, HALF_OPEN])
def test_a_bad_credential_is_marked_before_or_after_its_verdict(state: BreakerState) -> None:
    first, permit = in_state(state)
    first.open_now(10.0, rest=300.0)
    first.ended(permit, FAILURE, 10.0)
    second, permit = in_state(state)
    second.ended(permit, FAILURE, 10.0)
    second.open_now(10.0, rest=300.0)
    assert first.standing(10.0) == second.standing(10.0) == Standing(OPEN, 310.0)


def test_a_bad_credential_leaves_the_probe_that_is_out() -> None:
    breaker, probe = in_state(HALF_OPEN)
    breaker.open_now(10.0, rest=300.0)
    assert breaker.standing(10.0) == Standing(HALF_OPEN, 310.0)
    assert breaker.admit(309.0) is None
    breaker.ended(probe, ABANDONED, 11.0)
    assert breaker.standing(11.0) == Standing(OPEN, 310.0)


@pytest.mark.parametrize(
    "change",
    [
        {"failures": 0},
        {"rest": 0.0},
        {"rest": math.nan},
        {"rest": 61.0},
        {"longest_rest": 4.0},
        {"longest_rest": math.inf},
    ],
    ids=str,
)
def test_parameters(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="breaker"):
        replace(PARAMS, **change)


class AnyHistory(RuleBasedStateMachine):
    """Attempts that begin, end and overlap in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(replace(PARAMS, failures=2))
        self.now = 0.0
        self.out: list[Permit] = []

    @rule()
    def admit(self) -> None:
        resting = self.breaker.standing(self.now).resting(self.now)
        permit = self.breaker.admit(self.now)
        assert (permit is None) == resting
        if permit is not None:
            self.out.append(permit)

    @precondition(lambda self: self.out)
    @rule(data=st.data(), verdict=st.sampled_from([SUCCESS, FAILURE, ABANDONED]))
    def end(self, data: st.DataObject, verdict: Verdict) -> None:
        permit = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        self.breaker.ended(permit, verdict, self.now)

    @rule(seconds=st.sampled_from([0.5, 5.0, 60.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(seconds=st.sampled_from([-1.0, 1.0, 30.0, 7_200.0]))
    def penalise(self, seconds: float) -> None:
        self.breaker.penalise(self.now + seconds, self.now)

    @rule(rest=st.sampled_from([1.0, 300.0]))
    def open_now(self, rest: float) -> None:
        self.breaker.open_now(self.now, rest)

    @invariant()
    def at_most_one_probe_is_out(self) -> None:
        standing = self.breaker.standing(self.now)
        latest = max((permit.turn for permit in self.out), default=-1)
        probes = sum(permit.probe and permit.turn == latest for permit in self.out)
        assert probes >= (standing.state is HALF_OPEN)
        assert probes <= 1
        if standing.open_until is not None:
            assert self.now < standing.open_until <= self.now + LONGEST_PENALTY

    def teardown(self) -> None:
        for permit in self.out:
            self.breaker.ended(permit, ABANDONED, self.now)
        assert self.breaker.standing(self.now).state is not HALF_OPEN
        assert self.breaker.admit(self.now + LONGEST_PENALTY) is not None


TestAnyHistory = AnyHistory.TestCase

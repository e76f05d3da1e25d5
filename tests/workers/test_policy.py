"""What the parent does next, for every phase and everything that can happen."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.orders import Order
from kproxy.workers.policy import (
    Announce,
    Asked,
    Close,
    Crew,
    Do,
    Ended,
    Event,
    Fork,
    Kill,
    Leave,
    Params,
    Phase,
    Ready,
    Refused,
    Renew,
    Say,
    Tell,
    Tick,
    begin,
    due_at,
    step,
)

PARAMS = Params(drain=100.0, grace=10.0, cut=5.0, steady=60.0, first_rest=1.0, longest_rest=8.0)


class Story:
    """A crew, and what was to be done after each event."""

    def __init__(self, count: int = 2) -> None:
        self.crew = begin(count, 0.0)

    def at(self, now: float, *events: Event) -> list[Do]:
        todo: list[Do] = []
        for event in events or (Tick(),):
            self.crew, found = step(self.crew, event, now, PARAMS)
            todo += found
        return todo

    def serve(self) -> "Story":
        assert self.at(0.0) == [Fork(0), Fork(1)]
        assert self.at(1.0, Ready(0)) == []
        assert self.at(2.0, Ready(1)) == [Announce()]
        assert self.crew.phase is Phase.SERVING
        return self


def crashed(place: int) -> Ended:
    return Ended(place, "was ended by SIGSEGV", well=False)


def ended(place: int) -> Ended:
    return Ended(place, "ended with status 0", well=True)


def said(todo: list[Do]) -> list[str]:
    return [do.text for do in todo if isinstance(do, Say)]


# --- starting


def test_all_are_started_at_once_and_announced_once() -> None:
    story = Story().serve()
    story.at(70.0, crashed(0))
    assert story.at(71.0, Ready(0)) == [], "announced before"


def test_who_cannot_start_ends_it_all_with_a_reason() -> None:
    story = Story()
    story.at(0.0)
    assert story.at(1.0, Refused(1, "no room")) == [
        Close(), Tell(0, Order.CUT), Tell(1, Order.CUT)
    ]  # fmt: skip
    assert story.at(1.1, Refused(0, "no room")) == []
    assert story.at(1.2, Ended(1, "ended with status 2", well=False)) == []
    assert story.at(1.3, Ended(0, "ended with status 2", well=False)) == [Leave("no room")]


def test_who_ends_before_it_is_ready_has_some_tries() -> None:
    story = Story()
    story.at(0.0)
    assert story.at(1.0, crashed(0))[1:] == [Fork(0)]
    assert said(story.at(2.0, crashed(0))) == [
        "worker 1 was ended by SIGSEGV; another one takes its place in 1 s"
    ]
    assert story.at(3.0) == [Fork(0)]
    assert story.at(4.0, crashed(0)) == [Close(), Tell(1, Order.CUT)]
    assert story.at(4.1, ended(1)) == [Leave("worker 1 was ended by SIGSEGV")]


# --- serving


def test_who_has_served_is_replaced_at_once() -> None:
    story = Story().serve()
    assert story.at(60.0, crashed(1)) == [
        Say("worker 2 was ended by SIGSEGV; another one takes its place now"), Fork(1)
    ]  # fmt: skip
    assert due_at(story.crew) == math.inf


def test_who_ends_again_and_again_rests_longer_and_longer() -> None:
    story = Story().serve()
    now, rests = 2.0, []
    for _ in range(7):
        story.at(now, crashed(0))
        again = due_at(story.crew)
        if again == math.inf:
            rests.append(0.0)
            continue
        assert story.at(again - 0.01) == []
        assert story.at(again) == [Fork(0)]
        rests.append(again - now)
        now = again
    assert rests == [0.0, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


def test_a_long_service_makes_up_for_failures() -> None:
    story = Story().serve()
    for now in (3.0, 4.0):
        story.at(now, crashed(0))
    story.at(5.0)
    story.at(6.0, Ready(0))
    assert Fork(0) in story.at(66.0, crashed(0))


def test_who_cannot_be_replaced_now_is_tried_for_ever() -> None:
    story = Story().serve()
    for _ in range(20):
        now = max(3.0, *(one.born for one in story.crew.workers)) + 1.0
        assert said(story.at(now, Refused(0, "no room"))) == ["worker 1 cannot start: no room"]
        story.at(now, Ended(0, "ended with status 2", well=False))
        story.at(now + PARAMS.longest_rest)
        assert story.crew.workers[0].running
    assert story.crew.phase is Phase.SERVING


def test_certificates_are_looked_at_by_those_who_are_there() -> None:
    story = Story().serve()
    story.at(3.0, crashed(0))
    story.at(3.0, crashed(0))
    assert story.at(3.5, Renew()) == [Tell(1, Order.RENEW)]


# --- the end


def test_a_drain_ends_well_when_the_last_one_has() -> None:
    story = Story().serve()
    assert story.at(10.0, Asked()) == [Close(), Tell(0, Order.DRAIN), Tell(1, Order.DRAIN)]
    assert story.at(20.0, ended(0)) == []
    assert story.at(30.0, ended(1)) == [Leave("")]


def test_nobody_is_replaced_while_draining() -> None:
    story = Story().serve()
    story.at(3.0, crashed(0))
    story.at(3.0, crashed(0))
    assert story.at(3.5, Asked()) == [Close(), Tell(1, Order.DRAIN)]
    assert story.at(50.0) == []
    assert story.at(60.0, crashed(1)) == [Leave("worker 2 was ended by SIGSEGV")]


def test_the_second_signal_cuts_and_the_third_changes_nothing() -> None:
    story = Story().serve()
    story.at(10.0, Asked())
    assert story.at(11.0, Asked()) == [Tell(0, Order.CUT), Tell(1, Order.CUT)]
    assert story.at(12.0, Asked()) == []
    assert due_at(story.crew) == 16.0
    assert story.at(13.0, ended(0), ended(1)) == [Leave("")]


@pytest.mark.parametrize(("signals", "deadline"), [(1, 120.0), (2, 15.0)])
def test_who_does_not_end_in_time_is_killed(signals: int, deadline: float) -> None:
    story = Story().serve()
    story.at(10.0, *[Asked()] * signals)
    story.at(11.0, ended(0))
    assert due_at(story.crew) == deadline
    assert story.at(deadline) == [Kill(1)]
    assert due_at(story.crew) == math.inf, "once"
    killed = Ended(1, "was ended by SIGKILL", well=False)
    assert story.at(deadline + 1, killed) == [Leave("a worker did not end in time")]


def test_asked_before_anybody_is_ready() -> None:
    story = Story()
    story.at(0.0)
    assert story.at(0.5, Asked()) == [Close(), Tell(0, Order.DRAIN), Tell(1, Order.DRAIN)]
    assert story.at(1.0, Ready(0), Ready(1)) == [], "nothing to announce any more"
    assert story.at(2.0, ended(0), ended(1)) == [Leave("")]


# --- laws

EVENTS = st.one_of(
    st.builds(Ready, st.integers(0, 1)),
    st.builds(Refused, st.integers(0, 1), st.just("no room")),
    st.builds(crashed, st.integers(0, 1)),
    st.builds(ended, st.integers(0, 1)),
    st.just(Asked()),
    st.just(Renew()),
    st.just(Tick()),
)


@given(st.lists(st.tuples(EVENTS, st.floats(0.0, 50.0))))
def test_whatever_happens(happened: list[tuple[Event, float]]) -> None:
    """Nobody is started twice or after the end has begun; it is over when and only when the end
    has begun and nobody runs; while nothing is over somebody runs, or something is due."""
    crew: Crew = begin(2, 0.0)
    running: set[int] = set()
    now, announced, closed = 0.0, 0, 0
    for event, later in itertools.chain([(Tick(), 0.0)], happened):
        now += later
        if isinstance(event, Ready | Refused | Ended) and event.place not in running:
            continue  # the parent hears only of those who are there
        if isinstance(event, Ended):
            running.discard(event.place)
        crew, todo = step(crew, event, now, PARAMS)
        for do in todo:
            if isinstance(do, Fork):
                assert do.place not in running
                assert crew.phase in (Phase.STARTING, Phase.SERVING)
                running.add(do.place)
            if isinstance(do, Tell | Kill):
                assert do.place in running
            announced += isinstance(do, Announce)
            closed += isinstance(do, Close)
        over = any(isinstance(do, Leave) for do in todo)
        assert over == (crew.phase in (Phase.DRAINING, Phase.CUTTING) and not running)
        assert {at for at, one in enumerate(crew.workers) if one.running} == running
        assert running or over or due_at(crew) < math.inf
        if over:
            return
    assert announced <= 1
    assert closed <= 1

"""What attempts came to: their cost, what of them was shown, and what is charged."""

import pytest

from kproxy.admission.quota import NOTHING, Amount
from kproxy.admission.tiers import TIERS
from kproxy.api.tally import Tally
from kproxy.errors import FaultKind
from kproxy.outcome import AttemptOutcome, Ending, Usage

FREE, TEAM = TIERS["free"], TIERS["team"]
TEN, THREE = Usage(7, 3), Usage(2, 1)


def ended(
    usage: Usage | None = TEN,
    cost: int | None = 5,
    ending: Ending = Ending.COMPLETE,
    fault: FaultKind | None = None,
) -> AttemptOutcome:
    said = None if fault is None else fault.value
    return AttemptOutcome("m", "acme", 0.0, None, 1.0, ending, said, usage, cost)


def tally(*outcomes: AttemptOutcome, shown: bool = True) -> Tally:
    one = Tally()
    for outcome in outcomes:
        one.note(outcome, shown=shown)
    return one


@pytest.mark.parametrize(("costs", "sum_"), [((), 0), ((5,), 5), ((5, 4), 9), ((5, None, 4), None)])
def test_the_cost_is_the_sum_or_not_known(costs: tuple[int | None, ...], sum_: int | None) -> None:
    assert tally(*[ended(cost=cost) for cost in costs]).cost == sum_


def test_a_line_for_what_was_done_comes_before_the_words_it_was_done_for() -> None:
    one, line = tally(ended()), ended(usage=None, cost=2)
    one.note_before(line)
    assert one.outcomes == [line, ended()]
    assert (one.cost, one.shown) == (7, TEN)


def test_one_estimated_usage_makes_all_of_it_estimated() -> None:
    assert not tally(ended(), ended(usage=None)).estimated
    assert tally(ended(), ended(Usage(1, 1, estimated=True)), ended()).estimated


def test_nothing_was_asked_beside_the_one_answer() -> None:
    one = tally(ended())
    assert (one.shown, one.used, one.asked_more, one.has_shown) == (TEN, TEN, False, True)


def test_an_attempt_without_words_is_no_part() -> None:
    one = tally(ended(usage=None, ending=Ending.FAULT, fault=FaultKind.RESET))
    assert (one.shown, one.used, one.has_shown) == (Usage(0, 0), Usage(0, 0), False)


def test_of_two_answers_the_one_that_is_shown_was_the_last_word() -> None:
    first, second = ended(), ended(THREE)
    one = tally(first, second, shown=False)
    assert (one.last, one.has_shown) == (second, False)
    one.show(first)
    assert (one.last, one.shown, one.used, one.asked_more) == (first, TEN, Usage(9, 4), True)
    one.show(second)
    assert (one.last, one.shown, one.used) == (second, THREE, Usage(9, 4))


def test_parts_of_a_rescued_stream_are_added_up() -> None:
    broken = ended(ending=Ending.FAULT, fault=FaultKind.RESET)
    one = tally(broken, ended(THREE))
    assert (one.shown, one.used, one.asked_more) == (Usage(9, 4), Usage(9, 4), False)


@pytest.mark.parametrize("ending", Ending)
def test_a_providers_failure_is_charged_only_where_its_words_were_shown(ending: Ending) -> None:
    hidden = tally(ended(), ended(THREE, ending=ending), shown=False)
    shown = tally(ended(), ended(THREE, ending=ending))
    failed = ending in (Ending.FAULT, Ending.ERROR)
    less, whole = Amount(10, 5), Amount(13, 10)
    assert hidden.charged(Ending.COMPLETE, TEAM, spoken=False) == (less if failed else whole)
    assert shown.charged(Ending.COMPLETE, TEAM, spoken=False) == whole


@pytest.mark.parametrize("status", Ending)
@pytest.mark.parametrize("spoken", [False, True])
def test_a_request_that_failed_or_was_refused_is_not_charged(status: Ending, spoken: bool) -> None:
    free = status is Ending.ERROR or (status in (Ending.FAULT, Ending.REJECTED) and not spoken)
    charged = tally(ended()).charged(status, TEAM, spoken=spoken)
    assert charged == (NOTHING if free else Amount(10, 5))


def test_an_answer_that_its_deadline_ended_is_charged_as_far_as_it_came() -> None:
    late = ended(ending=Ending.FAULT, fault=FaultKind.TOTAL_TIMEOUT)
    assert tally(late).charged(Ending.FAULT, TEAM, spoken=False) == Amount(10, 5)
    assert tally(late, shown=False).charged(Ending.FAULT, TEAM, spoken=False) == NOTHING


def test_what_a_tier_counts() -> None:
    assert tally(ended(cost=None)).charged(Ending.COMPLETE, TEAM, spoken=False) == Amount(10, 0)
    assert tally(ended()).charged(Ending.COMPLETE, FREE, spoken=False) == Amount(0, 5)

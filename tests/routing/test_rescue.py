"""Who may go on with a broken stream, in which order, and within which plan."""

from typing import Any

import msgspec
import pytest

from kproxy.errors import Fault, FaultKind
from kproxy.routing.rescue import is_rescuable, rescue_plan
from kproxy.schema.chat import ChatRequest, Message, ResponseFormat
from tests.fakes.plans import plan_of, spec

CUT = Fault(FaultKind.CLOSED_EARLY, "cut")
SILENT = Fault(FaultKind.GAP_TIMEOUT, "silence")
BROKEN = spec("a/m", prefill=True)
SAME = spec("b/m", prefill=True)
OTHER = spec("c/n", prefill=True)
DEAF = spec("d/m")
PLAN = plan_of(BROKEN, OTHER, DEAF, SAME, rescue=True, most=3)


def order(fault: Fault, *tried: str) -> list[str]:
    plan = rescue_plan(PLAN, BROKEN, fault, tried, started=1)
    assert plan is not None
    return [one.model.key for one in plan.attempts]


def test_the_same_model_comes_first_and_who_takes_no_prefill_never() -> None:
    assert order(CUT) == ["b/m", "a/m", "c/n"]


def test_who_fell_silent_comes_last() -> None:
    assert order(SILENT) == ["b/m", "c/n", "a/m"]


def test_who_has_failed_before_comes_after_those_who_have_not() -> None:
    assert order(CUT, "a/m", "b/m") == ["a/m", "c/n", "b/m"]


def test_attempts_are_counted_on() -> None:
    plan = rescue_plan(PLAN, BROKEN, CUT, (), started=1)
    assert plan is not None
    assert (plan.most, plan.strategy, plan.beside) == (2, "single", 1)
    assert rescue_plan(PLAN, BROKEN, CUT, (), started=3) is None


def test_nobody_rescues_unasked() -> None:
    assert rescue_plan(plan_of(BROKEN, SAME), BROKEN, CUT, (), started=1) is None


def test_there_may_be_nobody() -> None:
    assert rescue_plan(plan_of(DEAF, rescue=True), DEAF, CUT, (), started=1) is None


USER, ASSISTANT = Message("user", "Hi"), Message("assistant", "Hello")


@pytest.mark.parametrize(
    ("members", "may"),
    [
        ({}, True),
        ({"n": 1}, True),
        ({"n": 2}, False),
        ({"response_format": ResponseFormat("text")}, True),
        ({"response_format": ResponseFormat("json_object")}, False),
        ({"response_format": ResponseFormat("json_schema")}, False),
        ({"messages": [USER, ASSISTANT]}, False),
        ({"messages": [USER, ASSISTANT, USER]}, True),
    ],
)
def test_which_answers_somebody_can_go_on_with(members: dict[str, Any], may: bool) -> None:
    request = ChatRequest(**{"model": "m", "messages": [USER], "stream": True, **members})
    assert is_rescuable(request) is may
    whole = msgspec.structs.replace(request, stream=False)
    assert not is_rescuable(whole)

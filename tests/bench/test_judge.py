"""The judge of bench/faults.py lets a true story pass, and each untruth is found."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from bench.judge import Played, judge, score, table
from bench.seen import Seen
from bench.sixteen import SIXTEEN, Broken, Refused, Scale, Scenario, Whole

SCALE = Scale(10)
WORDS = "The sea is salt."
TRUTH = Seen(
    0.0, 200, WORDS, "stop", True, True, usage={"prompt_tokens": 30, "completion_tokens": 60}
)


def attempt(provider: str, ending: str, *times: float | None, **fields: Any) -> dict[str, Any]:
    started, first, ended = times
    usual = {"model": "m", "fault": None, "usage": None, "cost_usd": 0, "estimated": False}
    times_ms = {"started_ms": started, "first_token_ms": first, "ended_ms": ended}
    return {"provider": provider, "ending": ending, **usual, **times_ms, **fields}


def used(prompt: int, completion: int, cost: str) -> dict[str, Any]:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion}
    return {"usage": usage, "cost_usd": Decimal(cost)}


def extension(*attempts: dict[str, Any], cost: str, **fields: Any) -> dict[str, Any]:
    explain = {"strategy": "single", "attempts": list(attempts)}
    usual = {"provider": "good", "cost_usd": Decimal(cost), "strategy": "single"}
    return {**usual, "attempts": len(attempts), "explain": explain, **fields}


REPLACED = Scenario("replaced", "replaced", "503", stream=Whole("fallback"), kinds=("unavailable",))
JOINED = Scenario(
    "joined", "joined", "cut=40", stream=Whole("fallback", 40), kinds=("closed_early",)
)
FAILED = attempt("acme", "fault", 0, None, 3, fault="unavailable")
WON = attempt("good", "complete", 3, 20, 600, **used(30, 60, "0.00081"))
CUT = attempt(
    "acme", "fault", 0, 20, 400, fault="closed_early", estimated=True, **used(30, 41, "0.000388")
)
WENT_ON = attempt("good", "complete", 400, 420, 600, **used(75, 20, "0.000465"))
JOIN = {"at": 9, "model": "m", "provider": "good"}


def played(scenario: Scenario, primary: int = 1, fallback: int = 1, **fields: Any) -> Played:
    seen = replace(TRUTH, seconds=0.7, **fields)
    at = 9 if scenario is JOINED else None
    slugs = ("acme", "good")
    return Played(scenario, "stream", SCALE, slugs, TRUTH, at, (seen,), primary, fallback)


def replaced(*attempts: dict[str, Any], **fields: Any) -> Played:
    told = extension(*(attempts or (FAILED, WON)), **{"cost": "0.00081", **fields})
    return played(REPLACED, extension=told)


def joined(*attempts: dict[str, Any], **fields: Any) -> Played:
    usual = {"cost": "0.000853", "rescued": [JOIN]}
    return played(JOINED, extension=extension(*(attempts or (CUT, WENT_ON)), **{**usual, **fields}))


@pytest.mark.parametrize("one", [replaced(), joined()], ids=["replaced", "joined"])
def test_a_true_story_passes(one: Played) -> None:
    assert judge(one, receipts=True) == []


CALLERS = {
    "took 3.10 s of 3": {"seconds": 3.1},
    "not whole: cut off": {"framed": False, "done": False},
    "not whole: error event": {"errors": ("x",), "last": True, "done": False},
    "not whole: hangs": {"status": 0, "problem": "hangs"},
    "an event is no JSON": {"nonsense": 1},
    "finish reason length, not stop": {"finish": "length"},
    "not the provider's words": {"text": "The sea is is salt."},
}


@pytest.mark.parametrize("problem", CALLERS)
def test_what_the_caller_saw(problem: str) -> None:
    one = replaced()
    seen = replace(one.seen[0], **CALLERS[problem])
    assert judge(replace(one, seen=(seen,)), receipts=False) == [problem]


@pytest.mark.parametrize(
    ("primary", "fallback", "problem"),
    [
        (0, 1, "the primary was never asked"),
        (4, 1, "asked the primary 4 times, at most 3"),
        (1, 0, "asked the fallback 0 times, at least 1"),
        (3, 1, "asked 4 times in all, at most 3"),
    ],
)
def test_who_was_asked(primary: int, fallback: int, problem: str) -> None:
    one = replace(replaced(), primary=primary, fallback=fallback)
    assert problem in judge(one, receipts=True)


def test_a_fallback_that_was_to_be_left_alone() -> None:
    alone = replace(REPLACED, stream=Whole(), most_fallback=0)
    problems = judge(replace(replaced(), scenario=alone), receipts=False)
    assert problems == ["asked the fallback 1 times, at most 0"]


RECEIPTS = {
    "no x_kairosroute": played(REPLACED),
    "attempts: 1, listed are 2": replaced(attempts=1),
    "strategy 'race'": replaced(strategy="race"),
    "provider 'acme', the last attempt's is 'good'": replaced(provider="acme"),
    "answered by acme": replaced({**FAILED}, {**WON, "provider": "acme"}),
    "receipts name {'good': 1}, asked were (1, 1)": replaced(WON),
    "the last attempt ended cancelled None": replaced(FAILED, {**WON, "ending": "cancelled"}),
    "the last attempt has no first token": replaced(FAILED, {**WON, "first_token_ms": None}),
    "a replaced attempt ended complete": replaced({**FAILED, "ending": "complete"}, WON),
    "fault 'reset', not unavailable": replaced({**FAILED, "fault": "reset"}, WON),
    "cost 0.001, the attempts' are 0 + 0.00081": replaced(cost="0.001"),
    "an attempt costs 0.00081, by its usage 0.000540000": replaced(
        FAILED, {**WON, **used(0, 45, "0.00081")}
    ),
    "usage (30, 59), the provider told (30, 60)": replaced(FAILED, {**WON, **used(30, 59, "0")}),
    "the usage of the last attempt is estimated": replaced(FAILED, {**WON, "estimated": True}),
    "times that cannot be: [3, 20, 701] in 700 ms": replaced(FAILED, {**WON, "ended_ms": 701}),
    "times that cannot be: [3, 2, 600] in 700 ms": replaced(FAILED, {**WON, "first_token_ms": 2}),
    "a receipt of another shape: KeyError('explain')": played(
        REPLACED, extension={"attempts": 2}
    ),
    f"joined without need: {[JOIN]}": replaced(rescued=[JOIN]),
    "joins [], not one at 9 by good": joined(rescued=[]),
    f"joins {[{**JOIN, 'at': 8}]}, not one at 9 by good": joined(rescued=[{**JOIN, "at": 8}]),
    "21 tokens after the join, not 20": joined(CUT, {**WENT_ON, **used(75, 21, "0.000465")}),
    "the first part's usage is None": joined({**CUT, "usage": None}, WENT_ON),
    "the first part has no first token, or a usage that nobody told": joined(
        {**CUT, "estimated": False}, WENT_ON
    ),
}  # fmt: skip


@pytest.mark.parametrize("problem", RECEIPTS)
def test_what_the_receipt_says(problem: str) -> None:
    assert problem in judge(RECEIPTS[problem], receipts=True)
    assert judge(RECEIPTS[problem], receipts=False) == []


def test_what_the_fallback_failed_of_is_not_the_primary_s_fault() -> None:
    refused = attempt("good", "fault", 400, None, 402, fault="no_prefill")
    back = {**WENT_ON, "provider": "acme", "started_ms": 402, **used(75, 20, "0.00031")}
    join = {**JOIN, "provider": "acme"}
    one = joined(CUT, refused, back, cost="0.000698", provider="acme", rescued=[join])
    either = replace(JOINED, stream=Whole(joined=40))
    assert judge(replace(one, scenario=either, primary=2), receipts=True) == []


def test_the_usage_that_the_caller_is_told() -> None:
    told = replaced()
    silent = replace(told, seen=(replace(told.seen[0], usage=None),))
    assert judge(silent, receipts=True) == ["usage None, not (30, 60)"]
    assert judge(silent, receipts=False) == []
    accounted = replace(silent, scenario=replace(REPLACED, accounted=True))
    assert judge(accounted, receipts=False) == ["usage None, not (30, 60)"]


def test_a_refusal() -> None:
    refused = replace(REPLACED, stream=Refused(400, "content_filter"))
    right = {"status": 400, "errors": ("content_filter",), "usage": None, "text": ""}
    assert judge(played(refused, **right), receipts=True) == []
    other = {**right, "errors": ("bad",)}
    assert judge(played(refused, **other), receipts=True) == ["not 400 content_filter: 400 bad"]
    late = replace(played(refused, **right).seen[0], seconds=4.1)
    assert judge(replace(played(refused, **right), seen=(late,)), receipts=True) == [
        "took 4.10 s of 3"
    ]


def test_a_broken_stream() -> None:
    broken = replace(REPLACED, stream=Broken())
    right: dict[str, Any] = {
        "text": "The sea", "errors": ("x",), "last": True, "finish": None, "framed": False,
        "done": False, "usage": None,
    }  # fmt: skip
    assert judge(played(broken, **right), receipts=True) == []
    for wrong, problem in (
        ({"errors": ("x", "x")}, "not one error event at the end: error event"),
        ({"last": False}, "not one error event at the end: error event"),
        ({"done": True}, "ends as if it were complete"),
        ({"finish": "stop"}, "ends as if it were complete"),
        ({"text": "A lake"}, "not the beginning of the provider's words"),
    ):
        assert problem in judge(played(broken, **{**right, **wrong}), receipts=True)


def test_the_score_counts_what_passed_in_every_mode() -> None:
    first, second = SIXTEEN[0], SIXTEEN[1]
    one, two = replace(replaced(), scenario=first), replace(replaced(), scenario=second)
    rows: list[tuple[Played, list[str]]] = [(one, []), (one, ["late"]), (two, [])]
    assert score(rows) == 1
    assert score([(one, []), (two, []), (replaced(), [])]) == 2
    lines = list(table(rows))
    assert lines[1].split() == [
        *first.name.split(), "(stream)", "whole", "0.70", "1", "1", "pass"
    ]  # fmt: skip
    assert lines[2].endswith("  late")

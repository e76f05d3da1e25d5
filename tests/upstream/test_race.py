"""Who started when, who won, and when everything else was closed: exact, on the virtual clock.

Each scenario is a table: for every attempt at an endpoint, after how many seconds which thing
happens. The runner below notes starts and ends.
"""

import math
from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from kproxy.errors import DeadlineExceeded, Exhausted, Fault, FaultKind, Rejected
from kproxy.routing.chain import BACKOFF, CONTEXT_LENGTH, Chain
from kproxy.routing.plan import AttemptSpec, Plan
from kproxy.upstream.race import carry_out
from tests.fakes.cancel import cancelled_at
from tests.fakes.plans import plan_of, spec

TOKEN = "token"
DOWN = Fault(FaultKind.UNAVAILABLE, "HTTP 503", status=503)
RESTING = Fault(FaultKind.RESTING, "resting", retry_after=4.0)
BAD = Rejected(400, "invalid_request_error", "no")
LONG = Rejected(400, CONTEXT_LENGTH, "too long")

Act = tuple[float, object]


class Scripted:
    """A runner whose attempts play a table; what they won is their key and number."""

    def __init__(self, script: dict[str, list[Act]], hedges: int = 99, repeats: int = 99) -> None:
        self._script = {key: list(acts) for key, acts in script.items()}
        self.hedges, self.repeats = hedges, repeats
        self.started: list[tuple[float, str]] = []
        self.ended: list[tuple[float, str, str]] = []
        self.discarded: list[str] = []
        self.winners: list[str | None] = []
        self.open = 0
        self._zero = trio.current_time()

    def now(self) -> float:
        return round(trio.current_time() - self._zero, 6)

    async def begin(self, chosen: AttemptSpec) -> str:
        key = chosen.model.key
        after, what = self._script[key].pop(0)
        if what is RESTING:
            raise RESTING
        self.started.append((self.now(), key))
        self.open += 1
        end = "cancelled"
        try:
            await trio.sleep(after)
            end = str(what)
            if isinstance(what, Exception):
                raise what
        finally:
            self.open -= 1
            self.ended.append((self.now(), key, end))
        self.open += 1  # the winner's connection
        return key

    def discard(self, won: str) -> None:
        self.open -= 1
        self.discarded.append(won)

    def decided(self, won: str | None) -> None:
        self.winners.append(won)

    def may_hedge(self, chosen: AttemptSpec) -> bool:
        self.hedges -= 1
        return self.hedges >= 0

    def hedge_unused(self) -> None:
        self.hedges += 1

    def may_repeat(self) -> bool:
        self.repeats -= 1
        return self.repeats >= 0


async def run(plan: Plan, runner: Scripted) -> tuple[str, float]:
    """Who won, and when."""
    deadline = trio.current_time() + plan.total
    won = await carry_out(Chain(plan, chance=0.5), deadline, runner)
    return won, runner.now()


# --- fallback


async def test_the_first_attempt_needs_no_other(autojump_clock: MockClock) -> None:
    runner = Scripted({"a/m": [(1, TOKEN)]})
    assert await run(plan_of(spec("a/m"), spec("b/m")), runner) == ("a/m", 1)
    assert runner.started == [(0, "a/m")]


async def test_in_a_fallback_the_next_starts_when_one_fails(autojump_clock: MockClock) -> None:
    runner = Scripted({"a/m": [(3, DOWN)], "b/m": [(2, TOKEN)]})
    assert await run(plan_of(spec("a/m"), spec("b/m")), runner) == ("b/m", 5)
    assert runner.started == [(0, "a/m"), (3, "b/m")]


async def test_a_lone_endpoint_is_asked_again_after_a_while(autojump_clock: MockClock) -> None:
    runner = Scripted({"a/m": [(1, DOWN), (1, DOWN), (1, TOKEN)]})
    won, at = await run(plan_of(spec("a/m")), runner)
    first = 1 + BACKOFF
    second = first + 1 + 2 * BACKOFF
    assert runner.started == [(0, "a/m"), (round(first, 6), "a/m"), (round(second, 6), "a/m")]
    assert (won, at) == ("a/m", round(second + 1, 6))


async def test_a_provider_is_not_asked_before_it_said(autojump_clock: MockClock) -> None:
    wait = Fault(FaultKind.RATE_LIMITED, "HTTP 429", status=429, retry_after=2.0)
    runner = Scripted({"a/m": [(1, wait), (1, TOKEN)]})
    assert await run(plan_of(spec("a/m")), runner) == ("a/m", 4)
    assert runner.started == [(0, "a/m"), (3, "a/m")]


async def test_who_may_be_asked_first_is_asked_first(autojump_clock: MockClock) -> None:
    late = Fault(FaultKind.RATE_LIMITED, "HTTP 429", status=429, retry_after=2.0)
    soon = Fault(FaultKind.RATE_LIMITED, "HTTP 429", status=429, retry_after=1.0)
    runner = Scripted({"a/m": [(0, late)], "b/m": [(0, soon), (1, TOKEN)]})
    assert await run(plan_of(spec("a/m"), spec("b/m")), runner) == ("b/m", 2)


async def test_no_more_attempts_than_the_plan_allows(autojump_clock: MockClock) -> None:
    runner = Scripted({key: [(1, DOWN)] * 5 for key in ("a/m", "b/m", "c/m", "d/m")})
    with pytest.raises(Exhausted) as failed:
        await run(plan_of(*map(spec, ("a/m", "b/m", "c/m", "d/m")), most=3), runner)
    assert [key for _, key in runner.started] == ["a/m", "b/m", "c/m"]
    assert [where for where, _ in failed.value.faults] == ["a/m", "b/m", "c/m"]
    assert isinstance(failed.value.__cause__, ExceptionGroup)


async def test_what_cannot_help_is_not_repeated(autojump_clock: MockClock) -> None:
    key = Fault(FaultKind.CREDENTIAL, "HTTP 401", status=401)
    runner = Scripted({"a/m": [(1, key)]})
    with pytest.raises(Exhausted):
        await run(plan_of(spec("a/m")), runner)
    assert runner.now() == 1


async def test_repeats_have_a_budget(autojump_clock: MockClock) -> None:
    runner = Scripted({"a/m": [(1, DOWN)] * 3}, repeats=1)
    with pytest.raises(Exhausted) as failed:
        await run(plan_of(spec("a/m")), runner)
    assert len(failed.value.faults) == 2


async def test_nothing_starts_at_the_deadline(autojump_clock: MockClock) -> None:
    runner = Scripted({"a/m": [(5, DOWN)], "b/m": [(1, TOKEN)]})
    with pytest.raises(DeadlineExceeded):
        await run(plan_of(spec("a/m", total=5, first_token=5), total=5), runner)
    assert runner.started == [(0, "a/m")]


async def test_no_wait_goes_past_the_deadline(autojump_clock: MockClock) -> None:
    wait = Fault(FaultKind.RATE_LIMITED, "HTTP 429", status=429, retry_after=2.0)
    runner = Scripted({"a/m": [(1, wait)]})
    short = spec("a/m", total=2.5, first_token=2.5)
    with pytest.raises(Exhausted):
        await run(plan_of(short, total=2.5), runner)
    assert runner.now() == 1


async def test_without_any_time_there_is_no_attempt(autojump_clock: MockClock) -> None:
    runner = Scripted({})
    chain = Chain(plan_of(spec("a/m")), chance=0.5)
    with pytest.raises(DeadlineExceeded):
        await carry_out(chain, trio.current_time(), runner)
    assert runner.started == []


async def test_who_rests_is_passed_over_and_not_counted(autojump_clock: MockClock) -> None:
    runner = Scripted({"a/m": [(0, RESTING)], "b/m": [(1, DOWN), (1, TOKEN)]})
    won, _ = await run(plan_of(spec("a/m"), spec("b/m"), most=2), runner)
    assert won == "b/m"
    assert [key for _, key in runner.started] == ["b/m", "b/m"]


async def test_a_refusal_ends_a_fallback(autojump_clock: MockClock) -> None:
    runner = Scripted({"a/m": [(1, BAD)], "b/m": [(1, TOKEN)]})
    with pytest.raises(Rejected) as refused:
        await run(plan_of(spec("a/m"), spec("b/m")), runner)
    assert refused.value is BAD
    assert runner.started == [(0, "a/m")]


@pytest.mark.parametrize(
    ("patience", "windows", "asked"),
    [
        (math.inf, (100, 100, 200), ["a/m", "c/m"]),
        (math.inf, (100, 50, 100), ["a/m"]),
        (math.inf, (None, 100, 200), ["a/m"]),
        (9, (100, 100, 200), ["a/m", "c/m"]),
        (9, (100, 50, 100), ["a/m"]),
    ],
)
async def test_a_long_prompt_goes_to_longer_windows_alone(
    autojump_clock: MockClock,
    patience: float,
    windows: tuple[int | None, ...],
    asked: list[str],
) -> None:
    keys = ("a/m", "b/m", "c/m")
    specs = [
        spec(key, patience, context_tokens=window)
        for key, window in zip(keys, windows, strict=True)
    ]
    runner = Scripted({"a/m": [(1, LONG)], "b/m": [(1, TOKEN)], "c/m": [(1, TOKEN)]})
    if len(asked) == 1:
        with pytest.raises(Rejected):
            await run(plan_of(*specs, beside=2), runner)
    else:
        assert await run(plan_of(*specs, beside=2), runner) == ("c/m", 2)
    assert [key for _, key in runner.started] == asked


async def test_a_longer_window_that_runs_already_may_win(autojump_clock: MockClock) -> None:
    specs = (spec("a/m", 0, context_tokens=100), spec("b/m", 0, context_tokens=200))
    runner = Scripted({"a/m": [(1, LONG)], "b/m": [(2, TOKEN)]})
    assert await run(plan_of(*specs, beside=2), runner) == ("b/m", 2)
    assert runner.open == 1


@pytest.mark.parametrize("patience", [math.inf, 0])
async def test_a_refusal_is_the_last_word_where_nobody_answers(
    autojump_clock: MockClock, patience: float
) -> None:
    specs = (spec("a/m", patience, context_tokens=100), spec("b/m", 0, context_tokens=200))
    down = Fault(FaultKind.CREDENTIAL, "HTTP 401", status=401)
    runner = Scripted({"a/m": [(1, LONG)], "b/m": [(2, down)]})
    with pytest.raises(Rejected) as refused:
        await run(plan_of(*specs, beside=2), runner)
    assert refused.value is LONG


# --- hedge


async def test_a_hedge_starts_when_patience_is_over_and_wins(autojump_clock: MockClock) -> None:
    runner = Scripted({"a/m": [(10, TOKEN)], "b/m": [(0.2, TOKEN)]})
    plan = plan_of(spec("a/m", 0.25), spec("b/m", 0.25), beside=2)
    assert await run(plan, runner) == ("b/m", 0.45)
    assert runner.started == [(0, "a/m"), (0.25, "b/m")]
    assert runner.ended == [(0.45, "b/m", TOKEN), (0.45, "a/m", "cancelled")]
    assert runner.winners == ["b/m"]
    assert runner.open == 1, "the winner's"


async def test_the_first_may_still_win(autojump_clock: MockClock) -> None:
    runner = Scripted({"a/m": [(0.3, TOKEN)], "b/m": [(9, TOKEN)]})
    assert await run(plan_of(spec("a/m", 0.25), spec("b/m"), beside=2), runner) == ("a/m", 0.3)
    assert runner.open == 1


async def test_a_quick_answer_starts_no_hedge(autojump_clock: MockClock) -> None:
    runner = Scripted({"a/m": [(0.2, TOKEN)]})
    assert await run(plan_of(spec("a/m", 0.25), spec("b/m"), beside=2), runner) == ("a/m", 0.2)
    assert runner.hedges == 99


async def test_an_early_failure_starts_the_next_at_once(autojump_clock: MockClock) -> None:
    runner = Scripted({"a/m": [(0.1, DOWN)], "b/m": [(1, TOKEN)]}, hedges=0)
    assert await run(plan_of(spec("a/m", 5), spec("b/m", 5), beside=2), runner) == ("b/m", 1.1)
    assert runner.started == [(0, "a/m"), (0.1, "b/m")]


async def test_a_hedge_that_is_not_granted_starts_on_failure(autojump_clock: MockClock) -> None:
    runner = Scripted({"a/m": [(3, DOWN)], "b/m": [(1, TOKEN)]}, hedges=0)
    assert await run(plan_of(spec("a/m", 0.5), spec("b/m"), beside=2), runner) == ("b/m", 4)
    assert runner.started == [(0, "a/m"), (3, "b/m")]


async def test_a_hedge_at_who_rests_is_not_paid_for(autojump_clock: MockClock) -> None:
    runner = Scripted({"a/m": [(9, TOKEN)], "b/m": [(0, RESTING)], "c/m": [(1, TOKEN)]}, hedges=1)
    specs = (spec("a/m", 1), spec("b/m", 1), spec("c/m", 1))
    assert await run(plan_of(*specs, beside=2), runner) == ("c/m", 2)
    assert runner.hedges == 0


async def test_no_more_run_at_one_time_than_the_plan_says(autojump_clock: MockClock) -> None:
    runner = Scripted({"a/m": [(9, TOKEN)], "b/m": [(3, DOWN)], "c/m": [(1, TOKEN)]})
    specs = (spec("a/m", 1), spec("b/m", 1), spec("c/m", 1))
    assert await run(plan_of(*specs, beside=2), runner) == ("c/m", 5)
    assert runner.started == [(0, "a/m"), (1, "b/m"), (4, "c/m")]


async def test_a_running_attempt_is_waited_for_when_all_others_failed(
    autojump_clock: MockClock,
) -> None:
    runner = Scripted({"a/m": [(9, TOKEN)], "b/m": [(1, DOWN)]})
    plan = plan_of(spec("a/m", 1), spec("b/m", 1), beside=2, most=2)
    assert await run(plan, runner) == ("a/m", 9)


async def test_when_all_have_failed_an_endpoint_is_asked_again(autojump_clock: MockClock) -> None:
    runner = Scripted({"a/m": [(2, DOWN)], "b/m": [(0.5, DOWN), (1, TOKEN)]})
    plan = plan_of(spec("a/m", 1), spec("b/m", 1), beside=2)
    assert await run(plan, runner) == ("b/m", 3), "its time came at 1.6, but a was running"
    assert runner.hedges == 98


async def test_a_race_whose_attempts_all_fail_tells_them_all(autojump_clock: MockClock) -> None:
    runner = Scripted({"a/m": [(2, DOWN)], "b/m": [(1, DOWN)]})
    plan = plan_of(spec("a/m", 0), spec("b/m", 0), beside=2, most=2)
    with pytest.raises(Exhausted) as failed:
        await run(plan, runner)
    assert [where for where, _ in failed.value.faults] == ["b/m", "a/m"]
    assert runner.now() == 2


# --- race


async def test_a_race_starts_all_at_once_and_ends_at_the_first_token(
    autojump_clock: MockClock,
) -> None:
    runner = Scripted({"a/m": [(3, TOKEN)], "b/m": [(1, TOKEN)], "c/m": [(2, TOKEN)]})
    specs = (spec("a/m", 0), spec("b/m", 0), spec("c/m", 0))
    assert await run(plan_of(*specs, beside=3), runner) == ("b/m", 1)
    assert [at for at, _ in runner.started] == [0, 0, 0]
    assert {at for at, _, _ in runner.ended} == {1}
    assert runner.open == 1


async def test_of_two_that_win_at_once_one_is_discarded(autojump_clock: MockClock) -> None:
    runner = Scripted({"a/m": [(1, TOKEN)], "b/m": [(1, TOKEN)]})
    won, _ = await run(plan_of(spec("a/m", 0), spec("b/m", 0), beside=2), runner)
    assert runner.open == 1
    assert runner.winners == [won]
    assert won not in runner.discarded


async def test_a_refusal_stops_a_race_at_once(autojump_clock: MockClock) -> None:
    runner = Scripted({"a/m": [(9, TOKEN)], "b/m": [(1, BAD)]})
    with pytest.raises(Rejected):
        await run(plan_of(spec("a/m", 0), spec("b/m", 0), beside=2), runner)
    assert runner.now() == 1
    assert runner.open == 0
    assert runner.winners == [None]


async def test_a_refusal_and_a_token_in_the_same_instant(autojump_clock: MockClock) -> None:
    """Whichever comes first decides, and the other leaves nothing open."""
    for _ in range(9):
        runner = Scripted({"a/m": [(1, BAD)], "b/m": [(1, TOKEN)]})
        try:
            won, _ = await run(plan_of(spec("a/m", 0), spec("b/m", 0), beside=2), runner)
        except Rejected:
            won = ""
        assert runner.open == bool(won)
        assert runner.winners == [won or None]


async def test_an_error_of_ours_is_not_hidden(autojump_clock: MockClock) -> None:
    runner = Scripted({"a/m": [(9, TOKEN)], "b/m": [(1, ValueError("ours"))]})
    with pytest.RaisesGroup(ValueError):
        await run(plan_of(spec("a/m", 0), spec("b/m", 0), beside=2), runner)
    assert runner.open == 0


SCENES: list[tuple[str, Callable[[], Plan], dict[str, list[Act]]]] = [
    ("fallback", lambda: plan_of(spec("a/m"), spec("b/m")), {"a/m": [(1, DOWN)], "b/m": [(1, 0)]}),
    ("again", lambda: plan_of(spec("a/m")), {"a/m": [(1, DOWN), (1, TOKEN)]}),
    (
        "hedge",
        lambda: plan_of(spec("a/m", 0.5), spec("b/m", 0.5), beside=2),
        {"a/m": [(9, TOKEN)], "b/m": [(1, TOKEN)]},
    ),
    (
        "race",
        lambda: plan_of(spec("a/m", 0), spec("b/m", 0), beside=2),
        {"a/m": [(1, TOKEN)], "b/m": [(1, TOKEN)]},
    ),
]


@pytest.mark.parametrize("scene", SCENES, ids=[scene[0] for scene in SCENES])
async def test_a_caller_may_leave_at_every_step(
    autojump_clock: MockClock, scene: tuple[str, Callable[[], Plan], dict[str, list[Act]]]
) -> None:
    """Whatever the step: nothing stays open but what was handed over."""
    step, left = 0, True
    while left:
        step += 1
        runner = Scripted(scene[2])
        handed: list[str] = []

        async def story(runner: Scripted = runner, handed: list[str] = handed) -> None:
            won, _ = await run(scene[1](), runner)
            handed.append(won)

        left = await cancelled_at(step, story)
        assert runner.open == len(handed)
    assert step > 1

"""What was played goes in; what is wrong with it comes out, as sentences, and as a table.

Three questions: did the caller get the whole and right answer in time (or the right refusal), were
the providers left in peace, and is the receipt true? The third is asked of kproxy alone, since a
receipt is its `x_kairosroute`; what the others answer is judged by the first two.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from bench.seen import Seen, usage_counts
from bench.sixteen import (
    CHEAP,
    DEAR,
    RETRIES,
    SIXTEEN,
    TOKENS,
    Broken,
    Mode,
    Refused,
    Scale,
    Scenario,
    Whole,
)

__all__ = ["GRACE", "Played", "judge", "score", "table"]

GRACE = 1.0
"""Real seconds that a refusal at the very deadline may need to reach the caller."""

NANO = Decimal("1e-9")


@dataclass(frozen=True, slots=True)
class Played:
    """One scenario in one mode. primary, fallback: how often each was asked, as they count it.

    slugs: their names in a receipt. truth: what the provider says when nothing is wrong. at: the
    characters of it that come before the fault, where it is a fault in the middle.
    """

    scenario: Scenario
    mode: Mode
    scale: Scale
    slugs: tuple[str, str]
    truth: Seen
    at: int | None
    seen: tuple[Seen, ...]
    primary: int
    fallback: int


def judge(played: Played, *, receipts: bool) -> list[str]:
    """Everything that is wrong; nothing for a pass. `receipts`: hold kproxy's to the truth."""
    found = [problem for seen in played.seen for problem in _answer(played, seen)]
    found += _asked(played, strict=receipts)
    if isinstance(played.scenario.outcome(played.mode), Whole):
        if receipts or played.scenario.accounted:
            found += [problem for seen in played.seen for problem in _usage(played, seen)]
        if receipts:
            found += _receipts(played)
    return list(dict.fromkeys(found))


# --- the caller


def _answer(played: Played, seen: Seen) -> Iterator[str]:
    outcome, deadline = played.scenario.outcome(played.mode), played.scale.deadline
    match outcome:
        case Whole(_, _, finish):
            if seen.seconds > deadline:
                yield f"took {seen.seconds:.2f} s of {deadline:g}"
            if not (seen.status == 200 and seen.framed and seen.done) or seen.errors:
                yield f"not whole: {seen.short}"
            elif seen.nonsense:
                yield "an event is no JSON"
            elif seen.finish != finish:
                yield f"finish reason {seen.finish}, not {finish}"
            if seen.status == 200 and seen.text != played.truth.text:
                yield "not the provider's words"
        case Refused(status, code):
            if seen.seconds > deadline + GRACE:
                yield f"took {seen.seconds:.2f} s of {deadline:g}"
            if (seen.status, seen.errors) != (status, (code,)):
                yield f"not {status} {code}: {seen.short}"
        case Broken():
            if seen.seconds > deadline + GRACE:
                yield f"took {seen.seconds:.2f} s of {deadline:g}"
            if seen.status != 200 or len(seen.errors) != 1 or not seen.last:
                yield f"not one error event at the end: {seen.short}"
            if seen.done or seen.framed or seen.finish:
                yield "ends as if it were complete"
            if not seen.text or not played.truth.text.startswith(seen.text):
                yield "not the beginning of the provider's words"


def _usage(played: Played, seen: Seen) -> Iterator[str]:
    """The usage that the caller is told. A joined answer has two, so it has no single truth."""
    outcome = played.scenario.outcome(played.mode)
    assert isinstance(outcome, Whole)
    told, true = usage_counts(seen.usage), usage_counts(played.truth.usage)
    if outcome.joined is None and told != true:
        yield f"usage {told}, not {true}"


# --- the providers


def _asked(played: Played, *, strict: bool) -> Iterator[str]:
    scenario, requests = played.scenario, played.scenario.requests
    outcome = scenario.outcome(played.mode)
    if not played.primary:
        yield "the primary was never asked"
    if played.primary > scenario.most_primary:
        yield f"asked the primary {played.primary} times, at most {scenario.most_primary}"
    if scenario.most_fallback is not None and played.fallback > scenario.most_fallback:
        yield f"asked the fallback {played.fallback} times, at most {scenario.most_fallback}"
    replaced = isinstance(outcome, Whole) and outcome.by == "fallback"
    least = requests if replaced else scenario.least_fallback
    if played.fallback < least:
        yield f"asked the fallback {played.fallback} times, at least {least}"
    asked, most = played.primary + played.fallback, requests * (1 + RETRIES)
    if strict and asked > most:
        yield f"asked {asked} times in all, at most {most}"


# --- the receipt


def _receipts(played: Played) -> Iterator[str]:
    attempts: Counter[str] = Counter()
    for seen in played.seen:
        if seen.extension is None:
            yield "no x_kairosroute"
            return
        try:
            yield from _receipt(played, seen, seen.extension)
            attempts.update(one["provider"] for one in seen.extension["explain"]["attempts"])
        except (KeyError, TypeError, IndexError) as error:
            yield f"a receipt of another shape: {error!r}"
            return
    primary, fallback = played.slugs
    told = (attempts[primary], attempts[fallback])
    if told != (played.primary, played.fallback) or len(attempts) > 2:
        yield f"receipts name {dict(attempts)}, asked were {(played.primary, played.fallback)}"


def _receipt(played: Played, seen: Seen, extension: dict[str, Any]) -> Iterator[str]:
    outcome = played.scenario.outcome(played.mode)
    assert isinstance(outcome, Whole)
    attempts = extension["explain"]["attempts"]
    last = attempts[-1]
    if extension["attempts"] != len(attempts):
        yield f"attempts: {extension['attempts']}, listed are {len(attempts)}"
    if {extension["strategy"], extension["explain"]["strategy"]} != {"single"}:
        yield f"strategy {extension['strategy']!r}"
    if extension["provider"] != last["provider"]:
        yield f"provider {extension['provider']!r}, the last attempt's is {last['provider']!r}"
    by = dict(zip(("primary", "fallback"), played.slugs, strict=True)).get(outcome.by)
    if by is not None and last["provider"] != by:
        yield f"answered by {last['provider']}"
    yield from _endings(played, attempts)
    yield from _times(attempts, seen.seconds)
    yield from _money(played, extension, attempts)
    yield from _join(played, extension, attempts)


def _endings(played: Played, attempts: Sequence[dict[str, Any]]) -> Iterator[str]:
    kinds = played.scenario.kinds
    *before, last = attempts
    if last["ending"] != "complete" or last["fault"] is not None:
        yield f"the last attempt ended {last['ending']} {last['fault']}"
    if played.mode == "stream" and last["first_token_ms"] is None:
        yield "the last attempt has no first token"
    for one in before:
        of_primary = one["ending"] == "fault" and one["provider"] == played.slugs[0]
        if of_primary and kinds and one["fault"] not in kinds:
            yield f"fault {one['fault']!r}, not {' or '.join(kinds)}"
        if one["ending"] not in ("fault", "rejected"):
            yield f"a replaced attempt ended {one['ending']}"


def _times(attempts: Sequence[dict[str, Any]], seconds: float) -> Iterator[str]:
    """Milliseconds after the request's arrival, which is after the caller's own clock started."""
    begun = Decimal(0)
    for one in attempts:
        times = [one["started_ms"], one["first_token_ms"], one["ended_ms"]]
        known = [begun, *(Decimal(time) for time in times if time is not None)]
        if known != sorted(known) or known[-1] > Decimal(1000 * seconds):
            yield f"times that cannot be: {times} in {1000 * seconds:.0f} ms"
        begun = Decimal(one["started_ms"])


def _money(
    played: Played, extension: dict[str, Any], attempts: Sequence[dict[str, Any]]
) -> Iterator[str]:
    costs = [Decimal(one["cost_usd"]) for one in attempts]
    if Decimal(extension["cost_usd"]) != sum(costs):
        yield f"cost {extension['cost_usd']}, the attempts' are {' + '.join(map(str, costs))}"
    for one, cost in zip(attempts, costs, strict=True):
        counts = usage_counts(one["usage"])
        wanted = _price(one["provider"] == played.slugs[0], counts) if counts else Decimal(0)
        if cost != wanted:
            yield f"an attempt costs {cost}, by its usage {wanted}"
    last = attempts[-1]
    outcome = played.scenario.outcome(played.mode)
    assert isinstance(outcome, Whole)
    counts, true = usage_counts(last["usage"]), usage_counts(played.truth.usage)
    if last["estimated"] or counts is None:
        yield "the usage of the last attempt is estimated"
    elif outcome.joined is None and counts != true:
        yield f"usage {counts}, the provider told {true}"
    elif outcome.joined is not None and counts[1] != TOKENS - outcome.joined:
        yield f"{counts[1]} tokens after the join, not {TOKENS - outcome.joined}"


def _price(primary: bool, counts: tuple[int, int]) -> Decimal:
    """USD, rounded to nano-dollars as the receipt has them."""
    into, out = map(Decimal, CHEAP if primary else DEAR)
    exact = (counts[0] * into + counts[1] * out) / 1_000_000
    return exact.quantize(NANO)


def _join(
    played: Played, extension: dict[str, Any], attempts: Sequence[dict[str, Any]]
) -> Iterator[str]:
    outcome = played.scenario.outcome(played.mode)
    assert isinstance(outcome, Whole)
    joins = extension.get("rescued") or []
    if outcome.joined is None:
        if joins:
            yield f"joined without need: {joins}"
        return
    last, first = attempts[-1], attempts[0]
    if [(one["at"], one["model"], one["provider"]) for one in joins] != [
        (played.at, last["model"], last["provider"])
    ]:
        yield f"joins {joins}, not one at {played.at} by {last['provider']}"
    if first["first_token_ms"] is None or not first["estimated"]:
        yield "the first part has no first token, or a usage that nobody told"
    counts = usage_counts(first["usage"])
    if counts is None or not all(counts):
        yield f"the first part's usage is {counts}"


# --- the table


def table(rows: Sequence[tuple[Played, Sequence[str]]]) -> Iterator[str]:
    """A line for each: name, what the caller saw, seconds, how often each was asked, verdict."""
    yield f"{'fault':<51}{'caller sees':<31}{'s':>7}{'primary':>9}{'fallback':>9}  verdict"
    for played, problems in rows:
        shorts = Counter(seen.short for seen in played.seen)
        sees = ", ".join(
            text if count == 1 else f"{count} x {text}" for text, count in shorts.items()
        )
        longest = max(seen.seconds for seen in played.seen)
        verdict = "; ".join(problems) or "pass"
        name = f"{played.scenario.name} ({played.mode})"
        asked = f"{longest:>7.2f}{played.primary:>9}{played.fallback:>9}"
        yield f"{name:<51}{sees:<31}{asked}  {verdict}"


def score(rows: Sequence[tuple[Played, Sequence[str]]]) -> int:
    """How many of the sixteen passed in every mode that was played."""
    played = {one.scenario.key for one, _ in rows}
    failed = {one.scenario.key for one, problems in rows if problems}
    return len([one for one in SIXTEEN if one.key in played - failed])

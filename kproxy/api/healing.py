"""An answer that is believed, and the forms that its texts were to have: the answer to give, out.

Contract section 10. Each text is healed by itself: the content of each choice, the arguments of
each tool call. Where one of them cannot be, and the answer was not cut, the plan is asked once
more; what comes back must be good or healed, else the caller gets the first answer as it came,
marked. The attempt is one like any other: it has its line and its cost on the receipt, a
reservation of its own beside the first one's, and the request's deadline, attempts and cost cap
bind it.

Only an answer with one choice is asked for again: the good ones among several are not thrown away.
Streams are healed on their way (`guard/healer.py`).
"""

from collections.abc import Awaitable, Callable, Mapping

import trio
from msgspec import Raw, Struct
from msgspec.structs import replace

from kproxy.api.job import Job
from kproxy.api.record import AttemptRecord
from kproxy.dialect.base import ReplyFacts
from kproxy.dialect.spoken import Place, Spoken, asked_again, respoken, spoken
from kproxy.errors import DeadlineExceeded, Exhausted, Rejected
from kproxy.guard.forms import Forms
from kproxy.guard.heal import Healed, merged
from kproxy.outcome import AttemptOutcome
from kproxy.routing.again import again_plan
from kproxy.routing.estimate import estimate_cost, estimate_prompt_tokens
from kproxy.routing.plan import AttemptSpec, Plan
from kproxy.schema.chat import PROMPT

__all__ = ["Replied", "healed_answer"]

ASKED = "asked_again"
"""How it is named in `healing`."""

WORTH_ASKING = frozenset({"not_json", "schema", "ambiguous"})

WISHES = {
    "not_json": "Your last answer was not valid JSON.",
    "schema": "Your last answer was JSON, but not valid under the schema that was asked for.",
    "ambiguous": "Your last answer held more than one JSON value.",
}
WISH = "Answer again, with nothing but the one JSON value: no prose, no Markdown, no comments."
CALL_WISH = "Call again, with arguments that are valid JSON under the schema of the tool."


class Replied(Struct, frozen=True):
    """A whole answer that is believed; its connection is still the record's."""

    record: AttemptRecord
    body: bytes
    facts: ReplyFacts


Ask = Callable[[Plan, Mapping[str, Raw]], Awaitable[Replied]]


async def healed_answer(job: Job, forms: Forms, first: Replied, ask: Ask) -> Replied:
    """The answer to give, with its texts healed and its attempt complete; `job.healed` says what
    was done.

    `ask` carries out a plan. Raises what our own end of the request does, nothing of a provider's.
    """
    outcome = _complete(job, first)
    job.tally.show(outcome)
    said = spoken(first.body)
    reports = await _healed(job, forms, said)
    told = merged(reports.values())
    wish = _wish(said, reports)
    if wish is not None and told is not None:
        second = await _ask(job, first, wish, ask)
        if second is not None:
            better = await _second(job, forms, second)
            if better is not None:
                return better
        if job.tally.outcomes[-1] is not outcome:
            told = told._replace(done=(*told.done, ASKED))
    job.healed = told
    return _respoken(first, said, reports)


async def _second(job: Job, forms: Forms, second: Replied) -> Replied | None:
    """The second answer, if it is one to give."""
    outcome = _complete(job, second)
    said = spoken(second.body)
    reports = await _healed(job, forms, said)
    told = merged(reports.values())
    if not said or (told is not None and not told.healed):
        return None
    job.healed = Healed("", healed=True, done=(ASKED, *(() if told is None else told.done)))
    job.tally.show(outcome)
    return _respoken(second, said, reports)


async def _healed(job: Job, forms: Forms, said: Mapping[Place, Spoken]) -> dict[Place, Healed]:
    """What became of each text that has a form."""
    found: dict[Place, Healed] = {}
    for number, (place, one) in enumerate(said.items()):
        if number:
            await trio.lowlevel.checkpoint()  # each text may take some milliseconds
        form = forms.content if one.tool is None else forms.arguments(one.tool)
        if form is not None and not _is_beside_calls(place, one, said):
            apart = job.service.apart
            found[place] = await apart.heal(one.text, one.finish, form, job.deadline)
    return found


def _is_beside_calls(place: Place, one: Spoken, said: Mapping[Place, Spoken]) -> bool:
    """Words of a model that calls a tool are no answer yet."""
    return place.call is None and (one.finish == "tool_calls" or Place(place.choice, 0) in said)


def _complete(job: Job, answered: Replied) -> AttemptOutcome:
    answered.record.attempt.finish()
    answered.record.complete(answered.facts.usage, answered.facts.text)
    return job.tally.outcomes[-1]


def _respoken(
    answered: Replied, said: Mapping[Place, Spoken], reports: Mapping[Place, Healed]
) -> Replied:
    changes = {
        place: report.text
        for place, report in reports.items()
        if report.healed and report.text != said[place].text
    }
    return replace(answered, body=respoken(answered.body, changes))


def _wish(
    said: Mapping[Place, Spoken], reports: Mapping[Place, Healed]
) -> tuple[str | None, str] | None:
    """What to show of the answer, and what to ask for; None: it is not asked for again."""
    whys = [report.why for report in reports.values() if report.healed is False]
    one_choice = len({place.choice for place in said}) == 1
    if not whys or not one_choice or not WORTH_ASKING.issuperset(whys):
        return None
    if any(place.call is not None for place in said):
        return None, CALL_WISH
    text = next(iter(said.values())).text
    return text, f"{WISHES[str(whys[0])]} {WISH}"


async def _ask(job: Job, first: Replied, wish: tuple[str | None, str], ask: Ask) -> Replied | None:
    """One more answer; None where there may be none, or it failed."""
    tried = [f"{one.provider}/{one.model}" for one in job.tally.outcomes]
    spent = [one.cost for one in job.tally.outcomes]
    fields = asked_again(job.asked, *wish)
    prompt = b"".join(bytes(fields[name]) for name in PROMPT if name in fields)
    prompt_tokens = estimate_prompt_tokens(prompt)
    routes = job.service.routes.snapshot(trio.current_time())
    awake = tuple(
        _priced(spec, prompt_tokens)
        for spec in job.plan.attempts
        if spec.model.key not in routes or not routes[spec.model.key].resting
    )
    same = _priced(first.record.spec, prompt_tokens)
    plan = again_plan(replace(job.plan, attempts=awake), same, tried, spent)
    if plan is None or trio.current_time() >= job.deadline:
        return None
    try:
        plan = job.hold_more(prompt_tokens, plan)
    except Rejected:
        return None
    job.is_decided = False  # who is asked now has overtaken nobody
    try:
        return await ask(plan, fields)
    except (Rejected, Exhausted, DeadlineExceeded):
        return None


def _priced(spec: AttemptSpec, prompt_tokens: int) -> AttemptSpec:
    """The attempt with a prompt that has the answer and the wish in it."""
    cost = estimate_cost(spec.model.price, prompt_tokens, spec.output_tokens)
    return replace(spec, est_cost=cost)

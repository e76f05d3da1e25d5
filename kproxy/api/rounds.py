"""The tool loop of one request: what the model has called in, the next round's request out.

Problem: a plugin's tool is carried out here, so one answer to the caller takes several requests to
providers. The caller must see one answer, pay for all of it, and never wait past its deadline; and
a model that calls a tool for ever must be stopped.

Our way: `stream.py` and `whole.py` carry out a round like any answer. Where it ends with nothing
but calls of ours (`dialect/calls.py`), they come here: the calls are carried out one after the
other, each under its own deadline and the request's, and what they came to makes the next request,
for which tokens and credit are reserved anew and the cap on cost is asked again. There are at most
`most` rounds, and in the last one our tools cannot be called. Where a limit leaves no room for
another round, the answer ends with finish reason `length`, and the plugin's report says why.

All attempts of all rounds stand on the one receipt. Each round may make as many attempts as the
plan allows, since it is a request of its own.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import trio
from msgspec import Raw
from msgspec.structs import replace

from kproxy.api.guardrails import guard_added
from kproxy.api.job import Job
from kproxy.api.plugged import Plugged, Result, Tool, failure
from kproxy.dialect.calls import BETWEEN, Call, Calls, Said
from kproxy.dialect.rounds import next_fields
from kproxy.errors import DeadlineExceeded, FaultKind, Rejected
from kproxy.guard.forms import Forms
from kproxy.guard.heal import Form, is_valid
from kproxy.outcome import AttemptOutcome, Ending, Usage
from kproxy.plugins.source import PluginFailed
from kproxy.routing.budget import affordable
from kproxy.routing.estimate import estimate_prompt_tokens
from kproxy.routing.plan import Plan
from kproxy.routing.rounds import round_plan
from kproxy.schema.chat import PROMPT
from kproxy.schema.receipt import PluginReport

__all__ = ["Next", "Ran", "Rounds", "rounds_of"]

AT_ONCE = 8
"""Calls of one round that are carried out; a model that makes more is told so."""


class Next(NamedTuple):
    """The next round."""

    plan: Plan
    fields: Mapping[str, Raw]


class Ran(NamedTuple):
    """What came of a round's calls: what the model is told of each; what the caller is shown now,
    as Markdown and as parts of a message's content."""

    results: Sequence[str]
    shown: str
    images: Sequence[Raw]


class _Bill(NamedTuple):
    """How a call ended that was asked of a service, and what it has cost. `usage` is None where
    nothing can have been used."""

    ending: Ending
    cost: int | None
    usage: Usage | None
    fault: FaultKind | None = None


class Rounds:
    """The tool loop of one job. `made` are its rounds, the one under way included; `texts` what
    those before it have said, and what plugins have shown, `images` among that."""

    def __init__(self, job: Job, plugged: Plugged, most: int) -> None:
        self._job = job
        self._tools = plugged.tools
        self._reports = plugged.reports
        self._most = most
        self.made = 1
        self._fields: Mapping[str, Raw] = job.call.fields
        forms = job.passed.forms
        self._heals = job.call.request.extension.heal is not False
        self._forms = Forms("whole", None, self._fields.get("tools"))  # of our calls' arguments
        self._calls: list[Call] = []  # the latest round's, as they were carried out
        self._is_prose = forms is None or forms.content is None  # JSON has nothing beside it
        self.texts: list[str] = []
        self.images: list[Raw] = []

    def __repr__(self) -> str:
        return f"<Rounds {self.made} of {self._most}>"

    @property
    def names(self) -> frozenset[str]:
        """The names of our tools."""
        return frozenset(self._tools)

    @property
    def is_last(self) -> bool:
        """Whether no round may follow the one under way."""
        return self.made >= self._most

    def calls(self, begun: str = "") -> Calls:
        """What tells calls apart in one stream of the round under way; `begun`: of a broken one,
        what it has said so far."""
        return Calls(self.names, BETWEEN.join(self.texts), begun, last=self.is_last)

    async def run(self, said: Said, seen: str) -> Ran:
        """Carry out the calls of a round; `seen` are its words as the caller sees them.

        Raises DeadlineExceeded.
        """
        if seen and self._is_prose:
            self.texts.append(seen)
        results: list[Result] = []
        self._calls = list(said.calls)
        with trio.move_on_at(self._job.deadline) as scope:
            for number, call in enumerate(said.calls):
                if number < AT_ONCE:
                    self._calls[number] = call = await self._mended(call)
                results.append(await self._carry_out(call, number))
        if scope.cancelled_caught:
            raise DeadlineExceeded("a plugin's tool took all the time there was")
        shown = ""
        if self._is_prose:
            shown = BETWEEN.join(result.shown for result in results if result.shown)
        if shown:
            self.texts.append(shown)
        images = [result.image for result in results if result.image is not None]
        self.images += images
        return Ran([result.text for result in results], shown, images)

    def next(self, said: Said, results: Sequence[str]) -> Next | None:
        """The next round, for which all is reserved; None: a limit leaves no room for it."""
        job, said = self._job, said._replace(calls=self._calls)
        closing = self.made + 1 >= self._most
        fields = next_fields(self._fields, said, results, ours=self.names if closing else ())
        prompt = b"".join(bytes(fields[name]) for name in PROMPT if name in fields)
        prompt_tokens = estimate_prompt_tokens(prompt)
        spent = [outcome.cost for outcome in job.tally.outcomes]
        plan = round_plan(job.plan, job.answered_by, prompt_tokens, spent)
        if plan is None:
            self._stop(said.calls, "another round would pass the cap on cost, or the window")
            return None
        try:
            plan = job.hold_more(prompt_tokens, plan)
        except Rejected as refusal:
            self._stop(said.calls, f"no room for another round ({refusal.code})")
            return None
        self.made += 1
        self._fields = fields
        job.begun, job.is_decided = len(job.tally.outcomes), False
        return Next(plan, fields)

    def _stop(self, calls: Iterable[Call], why: str) -> None:
        for name in {self._tools[call.name][0] for call in calls}:
            self._note(name, 0.0, 0, why)

    async def _mended(self, call: Call) -> Call:
        """The call with its arguments healed, where they are no JSON object and can be."""
        if not self._heals or is_valid(call.arguments, Form(arguments=True)):
            return call
        form, job = self._forms.arguments(call.name), self._job
        healed = await job.service.apart.heal(call.arguments, "tool_calls", form, job.deadline)
        return call._replace(arguments=healed.text) if healed.healed else call

    async def _carry_out(self, call: Call, number: int) -> Result:
        name, tool = self._tools[call.name]
        refused = self._refused(tool, number)
        if refused is not None:
            self._note(name, 0.0, 0, refused)
            return Result(f"[error: {refused}; this call was not carried out]")
        started, made, trouble = trio.current_time(), None, None
        error: str | None = "it was cut off"
        try:
            with trio.fail_after(tool.seconds):
                made = await tool.call(call.arguments)
            result = made._replace(text=await self._screened(_cut(made.text, tool.size)))
            error = None
        except Exception as caught:
            trouble, error = caught, failure(name, caught)
            result = Result(f"[error: {error}]")
        finally:
            self._note(name, 1000 * (trio.current_time() - started), 1, error)
            bill = _bill(tool, made, trouble)
            if bill is not None:
                self._charge(name, started, bill)
        return result

    async def _screened(self, text: str) -> str:
        """What a tool says, as the operator's rules let a provider see it. Raises Rejected."""
        job = self._job
        if job.guarded is None or job.service.guardrails is None:
            return text
        return await guard_added(job.service.guardrails, job.guarded, text)

    def _charge(self, name: str, started: float, bill: _Bill) -> None:
        """A line of the receipt, before that of the attempt whose call it was."""
        arrived = self._job.exchange.arrived
        line = AttemptOutcome(
            model=name,
            provider=name,
            started=started - arrived,
            first_token=None,
            ended=trio.current_time() - arrived,
            ending=bill.ending,
            fault=None if bill.fault is None else bill.fault.value,
            usage=bill.usage,
            cost=bill.cost,
        )
        self._job.tally.note_before(line)

    def _refused(self, tool: Tool, number: int) -> str | None:
        if number >= AT_ONCE:
            return f"more than {AT_ONCE} calls at once"
        job = self._job
        if not affordable((one.cost for one in job.tally.outcomes), tool.price, job.plan.cost_cap):
            return "the cap on cost leaves no room"
        return None

    def _note(self, name: str, ms: float, calls: int, error: str | None) -> None:
        """Add to the plugin's one report."""
        at = next(
            (at for at, one in enumerate(self._reports) if one.id == name), len(self._reports)
        )
        if at == len(self._reports):
            self._reports.append(PluginReport(name, ok=True, ms=0.0, calls=0))
        known = self._reports[at]
        self._reports[at] = replace(
            known,
            ok=known.ok and error is None,
            ms=round(known.ms + ms, 3),
            calls=(known.calls or 0) + calls,
            error=error or known.error,
        )


def _bill(tool: Tool, made: Result | None, trouble: Exception | None) -> _Bill | None:
    """What a call has cost that has come to `made`, to `trouble`, or to neither: it was cancelled.
    None: nothing, to nobody.

    Of one that nobody waited for, or that broke, the price may be due, and is ours to guess.
    """
    if made is not None:
        return _Bill(Ending.COMPLETE, tool.price, Usage()) if made.charged else None
    if tool.price == 0:
        return None
    guessed = Usage(estimated=True)
    if isinstance(trouble, PluginFailed):
        if trouble.spent is None:
            return None
        if not trouble.spent:
            return _Bill(Ending.FAULT, 0, None, FaultKind.UNAVAILABLE)
        return _Bill(Ending.FAULT, tool.price, guessed, FaultKind.UNAVAILABLE)
    if isinstance(trouble, trio.TooSlowError):
        return _Bill(Ending.FAULT, tool.price, guessed, FaultKind.TOTAL_TIMEOUT)
    return _Bill(Ending.ERROR if trouble else Ending.CANCELLED, tool.price, guessed)


def rounds_of(job: Job) -> Rounds | None:
    """The tool loop of a job; None where it has no tools of ours."""
    plugged = job.plugged
    if plugged is None or not plugged.tools:
        return None
    return Rounds(job, plugged, job.service.plugins.rounds)


def _cut(text: str, size: int) -> str:
    data = text.encode("utf-8", "replace")
    return text if len(data) <= size else data[:size].decode("utf-8", "ignore") + "\n[cut]"

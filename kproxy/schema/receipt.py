"""A decision and a receipt as frozen values, in the form in which they are stored.

Amounts are integers of nano-dollars and times are seconds; `ledger/receipt.py` turns a stored
receipt into what a caller reads (contract section 7). No prompt and no completion text.

What is as usual is not written: a sixth of each receipt. Without it an older kproxy reads the same,
for only what has had a default from the beginning is left out. None of these values can be part of
a cycle, so the garbage collector need not know them.
"""

from typing import Annotated, TypeAlias

import msgspec

from kproxy.outcome import AttemptOutcome, Ending, Exact, Usage

__all__ = [
    "Candidate",
    "Citation",
    "Classification",
    "Decision",
    "Execution",
    "Fired",
    "Join",
    "PluginReport",
    "Receipt",
]

Moment: TypeAlias = Annotated[float, msgspec.Meta(gt=-(2**53), lt=2**53)]


class Classification(msgspec.Struct, frozen=True, gc=False):
    """What the router took the prompt for; `confidence` is 0 to 1.

    `novel`: it is like nothing that the router knows, so the best model was to answer.
    """

    category: str
    confidence: float
    novel: bool = False


class Candidate(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One line of the decision. `filtered_out_by` is the first constraint broken, if any.

    `score` is the predicted quality, 0 to 1, where a router has scored it; `worth` is that less the
    best one's, and less what the dial takes for the price (`routing/dial.py`). `est_cost` is
    nano-dollars, None when the price is not known.
    """

    model_id: str
    provider: str
    est_cost: int | None
    filtered_out_by: str | None
    reasons: tuple[str, ...]
    score: float | None = None
    worth: float | None = None


class Decision(msgspec.Struct, frozen=True, gc=False):
    """What was chosen before anything was asked. `fallback_chain` are keys, `provider/id`."""

    model_id: str
    provider: str
    strategy: str
    fallback_chain: tuple[str, ...]
    dial: str | None = None


class Join(msgspec.Struct, frozen=True, gc=False):
    """Where a broken stream was continued: after `at` characters of text, by whom."""

    at: int
    model: str
    provider: str


class Fired(msgspec.Struct, frozen=True, gc=False):
    """A rule of the operator that has found something, and how often."""

    rule: str
    action: str
    count: int


class Citation(msgspec.Struct, frozen=True):
    """A source that an answer may cite as `[n]`."""

    n: int
    title: str
    url: str


class PluginReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one plugin's work, without a word of its text (contract section 9).

    `ms` is how long it worked, in milliseconds. `sources` are the pieces that it has brought,
    `calls` how often the model has called it, `kept` what it has remembered. `cited` is for the
    caller, and not on the receipt. `error` is ours and short.
    """

    id: str
    ok: bool
    ms: float
    sources: int | None = None
    calls: int | None = None
    kept: int | None = None
    error: str | None = None
    cited: tuple[Citation, ...] = ()


class Execution(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What became of the request. `cost` is the sum over all attempts, None if one is unknown.

    `savings` is signed. `status` is the ending of the request as a whole. `charged_tokens` and
    `charged_spend` (nano-dollars) are what counts against the account's limits: nothing for a
    request that was refused or failed (contract section 11).
    """

    status: Ending
    cost: Exact | None
    savings: Exact
    latency: float
    first_token: float | None
    usage: Usage | None
    joins: tuple[Join, ...] = ()
    healed: bool | None = None  # None: its JSON was good, or none was asked for
    charged_tokens: Exact = 0
    charged_spend: Exact = 0


class Receipt(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One admitted request, whatever its end. `arrived` is Unix seconds."""

    receipt_id: str
    account_id: str
    key_id: str
    arrived: Moment
    asked: str  # the caller's `model`, as it was
    stream: bool
    classification: Classification | None
    candidates: tuple[Candidate, ...]
    decision: Decision
    attempts: tuple[AttemptOutcome, ...]
    execution: Execution
    policy_version: str
    guardrails: tuple[Fired, ...] = ()
    plugins: tuple[PluginReport, ...] = ()

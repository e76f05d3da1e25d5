"""Data: the sixteen ways a provider fails, and what a caller has to see all the same.

Common to all: two providers that say the same words, the primary one faulty and a fallback behind
it; 60 tokens, one each 100 ms, the first after 200 ms; 2 retries; 30 s from the request to the end.
A rule is a fault of `kproxy sim` (`GET /sim/faults` lists them); a number in braces is seconds of
the true time. `Scale` makes all times shorter by one factor, so that a test need not wait them out.

`SIXTEEN` holds for any gateway. `MORE` is what kproxy promises beside them.
"""

import re
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "CHEAP", "DEADLINE", "DEAR", "FIRST_TOKEN", "MESSAGES", "MORE", "RETRIES", "SEED", "SIXTEEN",
    "TOKEN", "TOKENS", "Broken", "Mode", "Outcome", "Refused", "Scale", "Scenario", "Whole",
]  # fmt: skip

DEADLINE = 30.0  # seconds, from the request to the end of its answer
RETRIES = 2  # so at most three attempts in all
TOKENS = 60
FIRST_TOKEN = 0.2  # seconds
TOKEN = 0.1  # seconds between two of them
SEED = "16"
MESSAGES = [{"role": "user", "content": "Why is the sea salt, and why are ölbäume and 木 not?"}]

CHEAP = ("2.00", "8.00")
"""USD per million tokens in and out: the primary's price, below the fallback's, so it is first."""

DEAR = ("3.00", "12.00")

Mode = Literal["stream", "whole"]
Provider = Literal["primary", "fallback"]


@dataclass(frozen=True, slots=True)
class Whole:
    """The provider's whole answer.

    by: who has to have ended it, "" for either. joined: in a stream, the tokens of the first
    provider before another one went on. finish: the reason that the caller is told.
    """

    by: Provider | Literal[""] = ""
    joined: int | None = None
    finish: str = "stop"


@dataclass(frozen=True, slots=True)
class Refused:
    """An error with this status and code, and nothing else."""

    status: int
    code: str


@dataclass(frozen=True, slots=True)
class Broken:
    """The beginning of the answer, one error event, no `[DONE]`, and a connection that ends."""


Outcome = Whole | Refused | Broken


@dataclass(frozen=True, slots=True)
class Scale:
    """By how much shorter than in truth everything takes; 1 is the truth."""

    factor: float

    @property
    def deadline(self) -> float:
        """Seconds that a request may take."""
        return DEADLINE / self.factor

    def rule(self, text: str) -> str:
        """A rule with its braces filled in."""
        return re.sub(r"\{([0-9.]+)\}", lambda at: f"{float(at[1]) / self.factor:g}", text)

    def pace(self) -> tuple[str, ...]:
        """What `kproxy sim` is told about its answers."""
        first, token = 1000 * FIRST_TOKEN / self.factor, 1000 * TOKEN / self.factor
        times = ("--first-token-ms", f"{first:g}", "--token-ms", f"{token:g}", "--jitter", "0")
        return ("--seed", SEED, "--tokens", str(TOKENS), *times)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One fault. `stream` and `whole` are what a caller sees in either mode, None: not played.

    requests: how many; `over` spreads them over that many true seconds, 0: one after the other.
    most_primary, most_fallback: how often each provider may be asked by all of them together;
    least_fallback: how often it has to be, where the outcome does not say so already.
    kinds: what a receipt may call the primary's faults. rescue: whether the caller asks for it.
    windows: context lengths of both, where they matter. truth: the fault that the expected words
    themselves have. accounted: the caller has to be told the usage.
    """

    key: str
    name: str
    primary: str
    fallback: str = ""
    stream: Outcome | None = None
    whole: Outcome | None = None
    requests: int = 1
    over: float = 0.0
    most_primary: int = 1 + RETRIES
    most_fallback: int | None = None
    least_fallback: int = 0
    kinds: tuple[str, ...] = ()
    rescue: bool = True
    windows: tuple[int, int] | None = None
    truth: str = "ok"
    accounted: bool = False

    def outcome(self, mode: Mode) -> Outcome | None:
        """What is expected in that mode."""
        return self.stream if mode == "stream" else self.whole

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The modes that are played."""
        both: tuple[Mode, ...] = ("stream", "whole")
        return tuple(mode for mode in both if self.outcome(mode) is not None)


REPLACED = Whole("fallback")
TOO_LONG = Refused(400, "context_length_exceeded")
FILTERED = Refused(400, "content_filter")

SIXTEEN = (
    Scenario(
        # Two requests within the time that the provider has named: the second leaves it alone.
        "retry-after", "429 with Retry-After", "429={20}",
        stream=REPLACED, whole=REPLACED, requests=2, most_primary=1, kinds=("rate_limited",),
    ),
    Scenario(
        "rate-limit", "429 for ever", "429",
        stream=REPLACED, whole=REPLACED, requests=5, most_primary=5, kinds=("rate_limited",),
    ),
    Scenario(
        "once", "500 once", "once=500",
        stream=Whole(), whole=Whole(), most_primary=2, kinds=("unavailable",),
    ),
    Scenario(
        "down", "503 for ever", "503",
        stream=REPLACED, whole=REPLACED, requests=5, most_primary=5 * (1 + RETRIES),
        kinds=("unavailable",),
    ),
    Scenario(
        "reset", "connection reset", "reset",
        stream=REPLACED, whole=REPLACED, kinds=("reset", "closed_early"),
    ),
    Scenario(
        "silence", "silence", "silence",
        stream=REPLACED, whole=REPLACED, kinds=("first_token_timeout",),
    ),
    Scenario(
        # Whole, the primary's own answer is still in time.
        "slow", "first token after 20 s", "slow-first-token={20}",
        stream=REPLACED, whole=Whole(), kinds=("first_token_timeout",),
    ),
    Scenario(
        "cut", "cut after 40 of 60 tokens", "cut=40",
        stream=Whole("fallback", joined=40), whole=REPLACED, kinds=("closed_early",),
    ),
    Scenario(
        "stall", "30 s stall", "stall=30,{30}",
        stream=Whole("fallback", joined=30), whole=REPLACED,
        kinds=("gap_timeout", "first_token_timeout"),
    ),
    Scenario(
        "malformed", "malformed chunk", "malformed=20",
        stream=Whole("fallback", joined=20), whole=REPLACED, kinds=("bad_body",),
    ),
    Scenario(
        "no-done", "missing [DONE]", "no-done",
        stream=Whole("primary"), most_primary=1, most_fallback=0,
    ),
    Scenario(
        # The fallback's window is the same, so it would refuse as well.
        "context", "context too long", "context-length", "context-length",
        stream=TOO_LONG, whole=TOO_LONG, most_primary=1, most_fallback=0,
    ),
    Scenario(
        "filter", "content filter", "content-filter",
        stream=FILTERED, whole=FILTERED, most_primary=1, most_fallback=0,
    ),
    Scenario(
        "prefill", "cut, the fallback refuses prefill", "once=cut=40", "no-prefill",
        stream=Whole(joined=40), kinds=("closed_early", "no_prefill"),
    ),
    Scenario(
        # Five good seconds, 25 dead ones. Going elsewhere each time is not enough: a quarter of
        # the requests have to be spared the way to a provider that is known to be dead.
        "flap", "60 s of flapping, 20 requests", "flap-seconds={5},{25},503",
        stream=Whole(), requests=20, over=60.0, most_primary=15, kinds=("unavailable",),
    ),
    Scenario(
        "account", "accounting of the fallback", "500",
        stream=REPLACED, whole=REPLACED, kinds=("unavailable",), accounted=True,
    ),
)  # fmt: skip

MORE = (
    Scenario(
        "stuck", "cut, and nobody can go on", "cut=40!no-prefill", "no-prefill",
        stream=Broken(), least_fallback=1, kinds=("closed_early",),
    ),
    Scenario(
        # Between the join and the end there is no moment in which to note either.
        "rest", "cut, and the rest comes at once", "cut=40", "pace=0,0",
        stream=Whole("fallback", joined=40), kinds=("closed_early",),
    ),
    Scenario(
        "at-once", "no fault, and all comes at once", "pace=0,0",
        stream=Whole("primary"), whole=Whole("primary"), most_primary=1, most_fallback=0,
    ),
    Scenario(
        "unasked", "cut, and no rescue asked for", "cut=40",
        stream=Broken(), most_primary=1, most_fallback=0, kinds=("closed_early",), rescue=False,
    ),
    Scenario(
        "ended", "finish reason content_filter", "content-filter=20",
        stream=Whole("primary", finish="content_filter"),
        whole=Whole("primary", finish="content_filter"),
        most_primary=1, most_fallback=0, truth="content-filter=20",
    ),
    Scenario(
        "window", "context too long for the primary alone", "context-length",
        stream=REPLACED, whole=REPLACED, most_primary=1, windows=(1_000, 100_000),
    ),
    Scenario(
        "dead", "503 from both", "503", "503",
        stream=Refused(503, "all_models_unavailable"),
        whole=Refused(503, "all_models_unavailable"), least_fallback=1, kinds=("unavailable",),
    ),
    Scenario(
        "mute", "silence from both", "silence", "silence",
        stream=Refused(504, "deadline_exceeded"), whole=Refused(504, "deadline_exceeded"),
        least_fallback=1, kinds=("first_token_timeout", "total_timeout"),
    ),
)  # fmt: skip

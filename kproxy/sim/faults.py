"""What a simulated provider can be told to do wrong: text in, a checked `Fault` value out.

A fault is written as a name with its parameters, `cut=40` or `stall=10,30`. It is chosen

* by the request, as a suffix of the model's name: `gpt-4.1!cut=40`. Several may follow each other
  (`gpt-4.1!tokens=60!cut=40`). The exclamation mark needs no escape in JSON and in addresses, and
  a proxy passes the name on as it is (`models = "any"`). In a shell it needs single quotes.
* by configuration: `cut=40` for every request, `gpt-4.1!cut=40` for one model, `acme/gpt-4.1!cut`
  for one model under the address prefix `/acme`, `acme/*!503` for everything under it.

The table below is all there is; `GET /sim/faults` prints it. Parameters are positional and may be
left out from the right. `k` counts tokens already sent (default: half of the answer), `s` is in
seconds (default for a silence: until the caller leaves).

Most faults are a function of the request alone. `once` and `flap` count requests per model and
server: `Counters` holds that state, with the time as an argument.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from kproxy.errors import rejected_field

__all__ = ["FAULTS", "STATUSES", "Counters", "Fault", "parse", "parse_rule", "split_model"]

STATUSES = (400, 401, 403, 404, 408, 413, 422, 429, 500, 502, 503, 504, 529)
"""Statuses that are faults by their number alone, with the wire's own error body."""

_MOST_KEYS = 10_000
"""Models counted at one time by `Counters`; the oldest is forgotten beyond that."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what the parameters are and what happens."""

    params: str  # k: tokens, s: seconds, n: a number, w: a word, f: faults; one letter each
    words: tuple[str, ...]  # the words that `w` may be
    says: str


@dataclass(frozen=True, slots=True)
class Fault:
    """A checked fault. Which fields mean something is the row's matter; None: left out."""

    name: str
    tokens: int | None = None
    seconds: float | None = None
    numbers: tuple[float, ...] = ()
    word: str | None = None
    inner: "Fault | None" = None

    def __repr__(self) -> str:
        return f"<Fault {self.name}>"


def _row(params: str, says: str, *words: str) -> Row:
    return Row(params, words, says)


FAULTS: Mapping[str, Row] = MappingProxyType(
    {
        # before the answer
        "refuse": _row("", "configured for all: nothing listens; per request: reset, unanswered"),
        "reset": _row("k", "RST before the head; with k, after k tokens"),
        "silence": _row("s", "not one byte for s seconds"),
        "head-silence": _row("s", "the head, then not one byte for s seconds"),
        "garbage": _row("", "bytes that are no HTTP before the head"),
        "huge-head": _row("n", "n bytes of header fields (1048576)"),
        "slow-loris": _row("s", "the head byte by byte, one each s seconds (1)"),
        "early-hints": _row("", "legal: an informational 103 before the head"),
        # in the middle
        "slow-first-token": _row(
            "sw", "first token after s seconds (20), a comment or an empty delta each second",
            "comments", "empty",
        ),
        "stall": _row("ks", "k tokens, s seconds (30) of silence, then the rest"),
        "cut": _row("kw", "k tokens, then the connection ends without a terminator", "fin", "rst"),
        "malformed": _row("k", "token k comes as broken JSON, the rest as usual"),
        "bad-framing": _row("k", "after k tokens a chunk whose size is no number"),
        "error-event": _row("k", "200, and an error object after k tokens (0) instead of the rest"),
        # at the end
        "no-done": _row("", "no [DONE], no message_stop"),
        "no-finish": _row("", "no finish reason, else complete"),
        "no-usage": _row("", "no usage anywhere"),
        "empty": _row("w", "200 without an event; with the word, only the end marker", "done"),
        "till-close": _row("", "legal: no length and no chunks, the body ends with the connection"),
        # other answers
        "context-length": _row("n", "400 context_length_exceeded (above n prompt tokens)"),
        "content-filter": _row("k", "400 content_filter; with k, finish reason after k tokens"),
        "no-prefill": _row("", "400 when the last message is the assistant's"),
        "html": _row("n", "a web page under 200 (or status n)"),
        "long-length": _row("nw", "Content-Length n (10) too long", "fin", "hang"),
        "short-length": _row("n", "Content-Length n (10) too short"),
        # by count and by time
        "once": _row("fn", "fault f for the first n (1) requests of this model, then none"),
        "flap": _row("nnf", "n good (3), then n bad (3) requests, again and again; f: 503"),
        "flap-seconds": _row("nnf", "n good (60), then n bad (10) seconds, and again; f: 503"),
        # no faults at all, but chosen the same way
        "ok": _row("", "no fault"),
        "tokens": _row("k", "an answer of k tokens"),
        "pace": _row("nn", "=first,token: ms to the first token, between tokens; no jitter"),
        "echo": _row("", "the answer is the text of the last user message"),
        "reasoning": _row("k", "the first k tokens are reasoning (OpenAI's wire)"),
        **{
            str(status): _row("n", f"status {status}; Retry-After n for 429 (1) and 503, 529")
            for status in STATUSES
        },
    }
)  # fmt: skip

_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?")
_MOST_TOKENS = 1_000_000


def split_model(model: str) -> tuple[str, tuple[Fault, ...]]:
    """`gpt-4.1!cut=40` to the plain name and its faults. Raises Rejected (400, `model`)."""
    if "!" not in model:
        return model, ()
    name, *texts = model.split("!")
    try:
        return name, tuple(parse(text) for text in texts)
    except ValueError as error:
        raise rejected_field("model", f"model {model!r}: {error}") from None


def parse_rule(text: str) -> tuple[str, tuple[Fault, ...]]:
    """A configured fault to (what it applies to, faults); "*" is everything. Raises ValueError."""
    target, mark, faults = text.partition("!")
    if not mark:
        return "*", (parse(text),)
    return target or "*", tuple(parse(fault) for fault in faults.split("!"))


def parse(text: str) -> Fault:
    """One fault with its parameters. Raises ValueError that says what would have been right."""
    name, mark, rest = text.partition("=")
    row = FAULTS.get(name)
    if row is None:
        raise ValueError(f"unknown fault {name!r}")
    values = rest.split(",") if mark else []
    if len(values) > len(row.params):
        raise ValueError(f"fault {name!r} takes at most {len(row.params)} parameters")
    tokens: int | None = None
    seconds: float | None = None
    numbers: list[float] = []
    word: str | None = None
    inner: Fault | None = None
    for kind, value in zip(row.params, values, strict=False):
        if kind == "w":
            if value not in row.words:
                raise ValueError(f"fault {name!r} knows the words {', '.join(row.words)}")
            word = value
        elif kind == "f":
            inner = parse(value)
            if inner.name in ("once", "flap", "flap-seconds"):
                raise ValueError(f"fault {name!r} cannot hold another one that counts")
        elif not _NUMBER.fullmatch(value):
            raise ValueError(f"fault {name!r}: {value!r} is not a number of 0 or more")
        elif kind == "k":
            tokens = int(float(value))
            if tokens > _MOST_TOKENS:
                raise ValueError(f"fault {name!r}: at most {_MOST_TOKENS} tokens")
        elif kind == "s":
            seconds = float(value)
        else:
            numbers.append(float(value))
    return Fault(name, tokens, seconds, tuple(numbers), word, inner)


class Counters:
    """The faults that depend on history: how often, and since when, each model was asked.

    One per server. `now` is any clock that moves forward, in seconds.
    """

    def __init__(self, now: float) -> None:
        self._since = now
        self._asked: dict[tuple[str, str], int] = {}

    def settle(self, model: str, faults: Iterable[Fault], now: float) -> tuple[Fault, ...]:
        """The faults that hold for this request: each counting one replaced by what it says."""
        return tuple(held for fault in faults if (held := self._one(model, fault, now)) is not None)

    def _one(self, model: str, fault: Fault, now: float) -> Fault | None:
        numbers = fault.numbers
        match fault.name:
            case "once":
                first = int(numbers[0]) if numbers else 1
                bad = self._count(model, fault.name) < first
            case "flap":
                good = int(numbers[0]) if numbers else 3
                length = int(numbers[1]) if len(numbers) > 1 else 3
                bad = self._count(model, fault.name) % max(1, good + length) >= good
            case "flap-seconds":
                spell = numbers[0] if numbers else 60.0
                outage = numbers[1] if len(numbers) > 1 else 10.0
                bad = (now - self._since) % max(1e-9, spell + outage) >= spell
            case _:
                return fault
        return (fault.inner or parse("503")) if bad else None

    def _count(self, model: str, name: str) -> int:
        """How many requests came before this one."""
        key = (model, name)
        before = self._asked.pop(key, 0)
        if len(self._asked) >= _MOST_KEYS:
            del self._asked[next(iter(self._asked))]
        self._asked[key] = before + 1
        return before

"""The decision: (request, faults, seed, times) in, a `Script` out: what is said, and when.

Pure and repeatable: the same seed and the same request give the same words at the same times,
whatever else the server is doing. The wires only render a script; the player only plays it.

1. Text is a stretch of the tape (`tape.py`), JSON a value for the caller's schema (`shapes.py`), a
   tool call the same for the tool's parameters, but that `code` is what the user has fenced, where
   they have. Tools given are called, two at once where the caller allows it, unless the last
   message is already a tool's result.
2. `max_tokens` ends any answer with finish reason "length", valid JSON or not, as providers do.
3. An assistant's message at the end is continued: where it is a beginning of what this provider
   would have said, from the very character it stops at.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from kproxy.sim.asked import Asked, user_text
from kproxy.sim.chance import Chance
from kproxy.sim.faults import Fault
from kproxy.sim.params import Pace, SimParams
from kproxy.sim.shapes import instance
from kproxy.sim.tape import Tape, escape

__all__ = ["Call", "Script", "Stage", "find", "point", "write"]

_TOKEN = re.compile(r"\s*\S{1,8}|\s+")
_FENCED = re.compile(r"```(?:python)?\n(.{1,10000}?)```", re.DOTALL)
_CACHED_FROM = 1024  # prompt tokens from which providers serve part of a prompt from their cache
_OBJECT = {
    "type": "object",
    "properties": {
        "answer": {"type": "string", "minLength": 40},
        "score": {"type": "number", "minimum": 0, "maximum": 1},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 2},
    },
}  # what "any JSON object" looks like


class Call(msgspec.Struct, frozen=True):
    """A tool call. Its head counts as one token, each piece of the arguments as one more."""

    ident: str
    name: str
    escaped: tuple[bytes, ...]


class Script(msgspec.Struct, frozen=True):
    """One answer. `pieces[i]`, `escaped[i]` (the same inside a JSON string) and `times[i]` belong
    together; with calls there is no text, and `times` runs over their heads and pieces.

    times: seconds after the request has arrived, never falling. end: when the answer is complete.
    finish: "stop", "length", "tool_calls" or "content_filter". reasoning: how many of the first
    pieces are reasoning. cached_tokens are part of prompt_tokens.
    """

    ident: str
    pieces: Sequence[str]
    escaped: Sequence[bytes]
    calls: tuple[Call, ...]
    times: Sequence[float]
    end: float
    finish: str
    reasoning: int
    prompt_tokens: int
    cached_tokens: int

    @property
    def completion_tokens(self) -> int:
        """Tokens of the answer, reasoning included."""
        return len(self.times)

    @property
    def text(self) -> str:
        """The whole answer, reasoning left out."""
        return "".join(self.pieces[self.reasoning :])


@dataclass(frozen=True, slots=True)
class Stage:
    """What all scripts of a server share."""

    tape: Tape
    pace: Pace
    lengths: tuple[int, int]

    @classmethod
    def of(cls, params: SimParams) -> "Stage":
        """The stage for these parameters; takes some 10 ms, so it is made once."""
        return cls(Tape(params.seed, params.jitter), params.pace(), params.lengths())


def find(faults: Sequence[Fault], name: str) -> Fault | None:
    """The last fault of that name."""
    return next((fault for fault in reversed(faults) if fault.name == name), None)


def write(asked: Asked, faults: Sequence[Fault], stage: Stage) -> Script:
    """Decide the answer."""
    place = stage.tape.place(asked.digest)
    calls: tuple[Call, ...] = ()
    pieces: Sequence[str] = ()
    escaped: Sequence[bytes] = ()
    if asked.tools and not find(faults, "echo"):
        calls = _calls(asked)
        count = sum([1 + len(call.escaped) for call in calls])
        finish = "tool_calls"
    else:
        pieces, escaped = _said(asked, faults, stage, place)
        count = len(pieces)
        finish = "stop"
    limit = count if asked.limit is None else asked.limit
    filtered = find(faults, "content-filter") if faults else None
    if filtered is not None and filtered.tokens is not None:
        limit = min(limit, filtered.tokens)
    if limit < count:
        count, finish = limit, "length" if filtered is None else "content_filter"
        pieces, escaped, calls = pieces[:count], escaped[:count], _shorter(calls, count)
    reasoning = find(faults, "reasoning") if faults else None
    times, end = _times(asked.digest, faults, stage, count)
    return Script(
        ident=f"{asked.digest:032x}"[:24],
        pieces=pieces,
        escaped=escaped,
        calls=calls,
        times=times,
        end=end,
        finish=finish,
        reasoning=0 if reasoning is None else min(point(reasoning, count), len(pieces)),
        prompt_tokens=asked.prompt_tokens,
        cached_tokens=_cached(asked.prompt_tokens),
    )


def _said(
    asked: Asked, faults: Sequence[Fault], stage: Stage, place: int
) -> tuple[Sequence[str], Sequence[bytes]]:
    """The pieces of the text, plain and escaped, before any limit."""
    if faults and find(faults, "echo"):
        return _split(user_text(asked.messages))
    if asked.shape is not None:
        schema = _OBJECT if asked.shape is True else asked.shape
        return _split(_json(instance(schema, Chance(asked.digest))))
    low, high = stage.lengths
    count = low + (asked.digest >> 48) % (high - low + 1)
    if faults and (wanted := find(faults, "tokens")) is not None and wanted.tokens is not None:
        count = wanted.tokens
    if not count:
        return (), ()
    pieces, escaped = stage.tape.text(place, count)
    first = pieces[0].lstrip()  # a text does not begin with the space before its first word
    pieces, escaped = (first, *pieces[1:]), (escape(first), *escaped[1:])
    if asked.prefill:
        return _continued(pieces, escaped, asked.prefill)
    return pieces, escaped


def _continued(
    pieces: Sequence[str], escaped: Sequence[bytes], prefill: str
) -> tuple[Sequence[str], Sequence[bytes]]:
    """What is left of the answer after the caller's beginning of it."""
    if not "".join(pieces).startswith(prefill):
        # Another provider's words: go on with our own, about as far into the answer.
        done = min(len(_TOKEN.findall(prefill)), len(pieces) - 1)
        return pieces[done:], escaped[done:]
    left = len(prefill)
    for number, piece in enumerate(pieces):
        if left < len(piece):
            rest = piece[left:]
            return (rest, *pieces[number + 1 :]), (escape(rest), *escaped[number + 1 :])
        left -= len(piece)
    return (), ()


def _calls(asked: Asked) -> tuple[Call, ...]:
    """One call for each tool, with arguments that satisfy its schema."""
    chance = Chance(asked.digest >> 8)
    code = _FENCED.search(user_text(asked.messages))
    calls = []
    for number, tool in enumerate(asked.tools):
        schema = tool.schema if tool.schema else {"type": "object"}
        value = instance(schema, chance)
        if code and isinstance(value, dict) and "code" in value:
            value["code"] = code[1]
        _, escaped = _split(_json(value))
        calls.append(Call(f"{asked.digest >> 16:028x}"[:22] + f"{number:02x}", tool.name, escaped))
    return tuple(calls)


def _shorter(calls: tuple[Call, ...], count: int) -> tuple[Call, ...]:
    """The calls as far as `count` tokens go."""
    kept = []
    for call in calls:
        if count <= 0:
            break
        kept.append(Call(call.ident, call.name, call.escaped[: count - 1]))
        count -= 1 + len(call.escaped)
    return tuple(kept)


def _split(text: str) -> tuple[tuple[str, ...], tuple[bytes, ...]]:
    """A text in pieces like tokens; joined they are the text again."""
    pieces = tuple(_TOKEN.findall(text))
    return pieces, tuple([escape(piece) for piece in pieces])


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _times(
    digest: int, faults: Sequence[Fault], stage: Stage, count: int
) -> tuple[Sequence[float], float]:
    """When each token comes, and when the answer ends (at the last token, or the first's time)."""
    pace, tape = stage.pace, stage.tape
    first, token, jitter = pace.first_token, pace.token, pace.jitter
    fixed = find(faults, "pace") if faults else None
    if fixed is not None:
        numbers = (*fixed.numbers, 0.0, 0.0)
        first, token, jitter = numbers[0] / 1e3, numbers[1] / 1e3, 0.0
    if jitter:
        first *= tape.factors[tape.place(digest >> 16)]
    if fixed is None and pace.tail_every and (digest >> 32) % pace.tail_every == 0:
        first *= pace.tail_factor
    if not token:
        return [first] * count, first
    if not jitter:
        times = [first + token * number for number in range(count)]
    else:
        times = [first + token * wait for wait in tape.waits(tape.place(digest), count)]
    return times, times[-1] if times else first


def _cached(prompt_tokens: int) -> int:
    """How much of a long prompt counts as cached: half of it, in steps of 128 tokens."""
    return prompt_tokens // 256 * 128 if prompt_tokens >= _CACHED_FROM else 0


def point(fault: Fault, count: int) -> int:
    """A fault's number of tokens, or half of the answer where it names none."""
    return count // 2 if fault.tokens is None else fault.tokens

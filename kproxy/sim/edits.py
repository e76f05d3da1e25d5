"""The faults that change an answer's bytes and times: a `Show` and a `Fault` in, the show changed.

One function for each row of the table in `faults.py`, and `EDITS` at the end joins them to their
names. Rows without a function here act elsewhere: `script.py` (echo, tokens, pace, reasoning),
`play.py` (no-usage), `faults.Counters` (once, flap), `serve.py` (refuse for a whole listener).
"""

import re
from collections.abc import Callable, Mapping
from itertools import chain
from types import MappingProxyType

from kproxy.errors import Rejected
from kproxy.sim.faults import STATUSES, Fault
from kproxy.sim.script import point
from kproxy.sim.show import JSON, Ending, Framing, Part, Parts, Show

__all__ = ["EDITS"]

_PAGE = (
    b"<!DOCTYPE html><html><head><title>Gateway</title></head><body>Please wait.</body></html>\n"
)
_HINTS = b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n"
_GARBAGE = b"\x16\x03\x01\x00\xff\xfe not a status line\r\n\r\n"
_FINISH = re.compile(rb'("(?:finish|stop)_reason":)"[a-z_]+"')
_MOST_PADDING = 1 << 26
_WITH_RETRY = (429, 503, 529)


def _tokens(show: Show, fault: Fault) -> int:
    """How many tokens pass before the fault."""
    return point(fault, show.script.completion_tokens)


def _first(parts: Parts, tokens: int, of: int) -> Parts:
    """The answer as far as `tokens` of its `of` tokens; of a whole body the same share."""
    for at, part, data in parts:
        if part is Part.WHOLE:
            yield at, part, data[: len(data) * min(tokens, of) // max(1, of)]
            return
        if part is Part.TOKEN:
            if tokens <= 0:
                return
            tokens -= 1
        elif part is not Part.PREAMBLE and part is not Part.EXTRA:
            return
        yield at, part, data


def _later(parts: Parts, tokens: int, delay: float) -> Parts:
    """Everything after `tokens` tokens (a whole body: all of it) comes `delay` seconds later."""
    for at, part, data in parts:
        if part is Part.TOKEN:
            tokens -= 1
        waits = tokens < 0 or part not in (Part.PREAMBLE, Part.EXTRA, Part.TOKEN)
        yield (at + delay if waits else at), part, data


def _without(parts: Parts, left_out: Part) -> Parts:
    for item in parts:
        if item[1] is not left_out:
            yield item


def _plus(parts: Parts, part: Part, data: bytes) -> Parts:
    """One more piece at the time of the last."""
    now = 0.0
    for at, kind, one in parts:
        now = at
        yield at, kind, one
    yield now, part, data


def _stop(show: Show, ending: Ending) -> None:
    """Nothing is sent at all."""
    show.silent = True
    show.ending = ending


def _reset(show: Show, fault: Fault) -> None:
    if fault.tokens is None:
        _stop(show, Ending.RESET)
    else:
        _cut_at(show, fault.tokens, Ending.RESET)


def _cut(show: Show, fault: Fault) -> None:
    _cut_at(show, _tokens(show, fault), Ending.RESET if fault.word == "rst" else Ending.CLOSE)


def _cut_at(show: Show, tokens: int, ending: Ending) -> None:
    of = show.script.completion_tokens
    if show.framing is Framing.LENGTH:
        parts = list(show.parts)
        show.parts = _first(iter(parts), tokens, of)
        kept = list(show.parts)
        show.length_error += sum(len(data) for *_, data in parts) - sum(
            len(data) for *_, data in kept
        )
        show.parts = iter(kept)
    else:
        show.parts = _first(show.parts, tokens, of)
    show.unended = True
    show.ending = ending


def _silence(show: Show, fault: Fault) -> None:
    if fault.seconds is None:
        _stop(show, Ending.HANG)
        return
    delay = fault.seconds
    show.head_at += delay
    show.parts = ((at + delay, part, data) for at, part, data in show.parts)


def _head_silence(show: Show, fault: Fault) -> None:
    show.head_at = 0.0
    if fault.seconds is not None:
        delay = fault.seconds
        show.parts = ((at + delay, part, data) for at, part, data in show.parts)
        return
    known = list(show.parts)
    show.length_error += sum(len(data) for *_, data in known)
    show.parts = iter(())
    show.unended = True
    show.ending = Ending.HANG


def _slow_first_token(show: Show, fault: Fault) -> None:
    wanted = 20.0 if fault.seconds is None else fault.seconds
    times = show.script.times
    delay = max(0.0, wanted - (times[0] if times else show.script.end))
    show.parts = _later(show.parts, 0, delay)
    if show.rendered is None:
        show.head_at += delay
    elif fault.word is not None:
        word = show.rendered.comment if fault.word == "comments" else show.rendered.empty
        extras: Parts = ((float(at), Part.EXTRA, word) for at in range(1, int(wanted)))
        first = list(_taken(show.parts, 1))
        show.parts = chain(first, extras, show.parts)


def _taken(parts: Parts, count: int) -> Parts:
    for _, item in zip(range(count), parts, strict=False):
        yield item


def _stall(show: Show, fault: Fault) -> None:
    delay = 30.0 if fault.seconds is None else fault.seconds
    show.parts = _later(show.parts, _tokens(show, fault), delay)
    if show.rendered is None:
        show.head_at += delay


def _malformed(show: Show, fault: Fault) -> None:
    show.parts = _broken(show.parts, _tokens(show, fault))


def _broken(parts: Parts, token: int) -> Parts:
    """Token number `token` (from 0), or a whole body, loses its last third."""
    for at, part, data in parts:
        if part is Part.WHOLE:
            yield at, part, data[: len(data) * 2 // 3]
            continue
        if part is Part.TOKEN:
            if token == 0:
                data = data[: len(data) * 2 // 3] + b"\n\n"
            token -= 1
        yield at, part, data


def _bad_framing(show: Show, fault: Fault) -> None:
    tokens = _tokens(show, fault)
    show.framing = Framing.CHUNKED
    show.parts = _plus(
        _first(show.parts, tokens, show.script.completion_tokens), Part.RAW, b"zz\r\n"
    )
    show.unended = True
    show.ending = Ending.CLOSE


def _error_event(show: Show, fault: Fault) -> None:
    if show.rendered is None:
        body = show.wire.problem(Rejected(500, "", ""), show.script.ident)
        show.parts = iter([(show.script.end, Part.WHOLE, body)])
        return
    event = show.wire.error_event(show.script.ident)
    first = _first(show.parts, fault.tokens or 0, show.script.completion_tokens)
    show.parts = _plus(first, Part.EXTRA, event)


def _no_done(show: Show, fault: Fault) -> None:
    show.parts = _without(show.parts, Part.DONE)


def _no_finish(show: Show, fault: Fault) -> None:
    if show.rendered is None:  # a quote inside a text is escaped, so only the field itself matches
        show.parts = ((at, part, _FINISH.sub(rb"\1null", data)) for at, part, data in show.parts)
    else:
        show.parts = _without(show.parts, Part.FINISH)


def _empty(show: Show, fault: Fault) -> None:
    if fault.word == "done" and show.rendered is not None:
        show.parts = iter([(show.script.end, Part.DONE, show.rendered.done)])
    else:
        show.parts = iter(())


def _till_close(show: Show, fault: Fault) -> None:
    show.framing = Framing.OPEN
    show.ending = Ending.CLOSE


def _answer(show: Show, status: int, content_type: bytes, body: bytes) -> None:
    """Something else instead of the answer, at once."""
    show.status = status
    show.content_type = content_type
    show.framing = Framing.LENGTH
    show.rendered = None
    show.head_at = 0.0
    show.parts = iter([(0.0, Part.WHOLE, body)])


def _refusal(show: Show, error: Rejected) -> None:
    _answer(show, error.status, JSON, show.wire.problem(error, show.script.ident))


def _status(show: Show, fault: Fault) -> None:
    status = int(fault.name)
    if fault.numbers or status == 429:
        after = fault.numbers[0] if fault.numbers else 1.0
        if status in _WITH_RETRY:
            show.fields += b"retry-after: %d\r\n" % max(0, -int(-after // 1))
    _refusal(show, Rejected(status, "", ""))


def _context_length(show: Show, fault: Fault) -> None:
    prompt = show.asked.prompt_tokens
    window = int(fault.numbers[0]) if fault.numbers else max(1, prompt - 1)
    if prompt <= window:
        return
    message = (
        f"This model's maximum context length is {window} tokens. However, your messages "
        f"resulted in {prompt} tokens. Please reduce the length of the messages."
    )
    error = Rejected(400, "context_length_exceeded", message, param="messages")
    error.type = "invalid_request_error"
    _refusal(show, error)


def _content_filter(show: Show, fault: Fault) -> None:
    if fault.tokens is None:  # with k the script itself ends so
        message = (
            "The response was filtered due to the prompt triggering content management policy."
        )
        error = Rejected(400, "content_filter", message, param="prompt")
        error.type = "invalid_request_error"
        _refusal(show, error)


def _no_prefill(show: Show, fault: Fault) -> None:
    if show.asked.prefill is not None:
        message = "This model does not support assistant message prefill."
        error = Rejected(400, "invalid_request_error", message, param="messages")
        _refusal(show, error)


def _html(show: Show, fault: Fault) -> None:
    status = int(fault.numbers[0]) if fault.numbers else 200
    _answer(show, status, b"text/html; charset=utf-8", _PAGE)


def _long_length(show: Show, fault: Fault) -> None:
    show.framing = Framing.LENGTH
    show.length_error += int(fault.numbers[0]) if fault.numbers else 10
    show.ending = Ending.HANG if fault.word == "hang" else Ending.CLOSE


def _short_length(show: Show, fault: Fault) -> None:
    show.framing = Framing.LENGTH
    show.length_error -= int(fault.numbers[0]) if fault.numbers else 10


def _slow_loris(show: Show, fault: Fault) -> None:
    show.head_at = 0.0
    show.head_gap = 1.0 if fault.seconds is None else max(1e-6, fault.seconds)


def _garbage(show: Show, fault: Fault) -> None:
    show.before += _GARBAGE


def _early_hints(show: Show, fault: Fault) -> None:
    show.before += _HINTS


def _huge_head(show: Show, fault: Fault) -> None:
    wanted = int(fault.numbers[0]) if fault.numbers else 1 << 20
    names = [b"x-pad-%d: " % number for number in range(min(wanted, _MOST_PADDING) // 1024)]
    show.fields += b"".join([name + b"p" * (1022 - len(name)) + b"\r\n" for name in names])


EDITS: Mapping[str, Callable[[Show, Fault], None]] = MappingProxyType(
    {
        "refuse": _reset,
        "reset": _reset,
        "silence": _silence,
        "head-silence": _head_silence,
        "garbage": _garbage,
        "huge-head": _huge_head,
        "slow-loris": _slow_loris,
        "early-hints": _early_hints,
        "slow-first-token": _slow_first_token,
        "stall": _stall,
        "cut": _cut,
        "malformed": _malformed,
        "bad-framing": _bad_framing,
        "error-event": _error_event,
        "no-done": _no_done,
        "no-finish": _no_finish,
        "empty": _empty,
        "till-close": _till_close,
        "context-length": _context_length,
        "content-filter": _content_filter,
        "no-prefill": _no_prefill,
        "html": _html,
        "long-length": _long_length,
        "short-length": _short_length,
        **{str(status): _status for status in STATUSES},
    }
)

"""What a caller has been shown of one streamed answer: events in, a text to be continued out.

A stream that breaks after its first token may be continued by another attempt, where that was asked
for (contract section 6). Then two things are needed: the text so far, for the other one to go on
from; and events of the other one that fit behind those already shown, so that the caller sees one
stream. While nothing breaks this must cost nothing, so events are only kept, and read when the text
is wanted.

1. Only plain text of a single choice is continued. A half-written tool call cannot be: its
   arguments are JSON that somebody else would have to guess.
2. White space at the end of the text is not sent to who goes on (Anthropic refuses it, and a
   tokenizer seldom begins where another one's token ended). What it repeats of that white space is
   taken off its first words, so that nothing stands twice at the join.
3. In the events of a later part `id` and `created` are the first part's, the role is not said
   again, and usage is the sum of all parts. `model` stays the truth.
"""

from collections.abc import Mapping
from itertools import takewhile
from typing import Any

import msgspec
from msgspec import Raw

from kproxy.outcome import Usage
from kproxy.schema.reply import decode_chunk
from kproxy.wire.sse import Event

__all__ = ["MAX_TRANSCRIPT", "Transcript", "continued"]

MAX_TRANSCRIPT = 4_194_304
"""Bytes of events that are kept; a longer answer is not continued."""

_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Transcript:
    """One streamed answer, in one or more parts."""

    __slots__ = ("_earlier", "_events", "_first", "_repeated", "_size")

    def __init__(self) -> None:
        self._events: list[bytes] = []  # the data of each
        self._size = 0
        self._first: dict[str, Any] | None = None  # of a later part: what its events begin with
        self._repeated = ""  # white space that the later part may say again
        self._earlier: Usage | None = None

    def __repr__(self) -> str:
        return f"<Transcript {len(self._events)} events, {self._size} bytes>"

    def take(self, event: Event) -> Event:
        """An event that is being shown; in a later part the event to show instead."""
        if self._first is not None:
            event = self._fitted(event, self._first)
        self._size += len(event.data or b"")
        if self._size <= MAX_TRANSCRIPT:
            self._events.append(event.data or b"")
        return event

    def text(self) -> str | None:
        """The text that was shown; None where nobody can go on from it."""
        if self._size > MAX_TRANSCRIPT:
            return None
        pieces: list[str] = []
        try:
            for data in self._events:
                for choice in decode_chunk(data).choices or ():
                    delta = choice.delta
                    if choice.index or (delta is not None and not delta.is_text):
                        return None
                    if delta is not None:
                        pieces.append(delta.text)
        except msgspec.MsgspecError:
            return None  # half of a surrogate pair: no text yet
        return "".join(pieces) or None

    def join(self, text: str, earlier: Usage) -> None:
        """What comes now is of another attempt, which goes on from `text`.

        `earlier` is what the parts before have used.
        """
        if self._first is None:
            begun = _decode(self._events[0])
            self._first = {name: begun[name] for name in ("id", "created") if name in begun}
        self._repeated = text[len(text.rstrip()) :]
        self._earlier = earlier

    def _fitted(self, event: Event, first: dict[str, Any]) -> Event:
        chunk = _decode(event.data or b"{}")
        chunk |= {name: value for name, value in first.items() if name in chunk}
        for choice in chunk.get("choices") or ():
            delta = choice.get("delta")
            if delta:
                delta.pop("role", None)
                self._trim(delta)
        usage = chunk.get("usage")
        if isinstance(usage, dict) and self._earlier is not None:
            chunk["usage"] = _summed(usage, self._earlier)
        data = _encode(chunk)
        return Event(b"data: %b\n\n" % data, data, event.name)

    def _trim(self, delta: dict[str, Any]) -> None:
        """Take off what stands at the end of the text already."""
        said = delta.get("content")
        if not self._repeated or not isinstance(said, str) or not said:
            return
        pairs = zip(said, self._repeated, strict=False)
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        self._repeated = self._repeated[same:] if same == len(said) else ""
        delta["content"] = said[same:]


def _summed(usage: dict[str, Any], earlier: Usage) -> dict[str, Any]:
    told = {name: usage[name] for name in _COUNTS if isinstance(usage.get(name), int)}
    if len(told) != len(_COUNTS):
        return usage
    told["prompt_tokens"] += earlier.prompt_tokens
    told["completion_tokens"] += earlier.completion_tokens
    told["total_tokens"] = told["prompt_tokens"] + told["completion_tokens"]
    return usage | told


def continued(fields: Mapping[str, Raw], text: str, used: int) -> dict[str, Raw]:
    """The members of a request that asks to go on from `text`, which cost `used` tokens.

    The assistant's own beginning is the last message (a prefill), and limits on the answer's
    length are what is left of them.
    """
    members = dict(fields)
    messages = bytes(fields["messages"]).rstrip()
    begun = _encode({"role": "assistant", "content": text.rstrip()})
    members["messages"] = Raw(b"%b,%b]" % (messages[:-1].rstrip(), begun))
    for name in ("max_tokens", "max_completion_tokens"):
        limit = msgspec.json.decode(fields[name]) if name in fields else None
        if isinstance(limit, int):
            members[name] = Raw(b"%d" % max(1, limit - used))
    return members

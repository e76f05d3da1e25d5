"""What a caller has been shown of one streamed answer: events in, a text to be continued out.

A stream that breaks after its first token may be continued by another attempt, where that was asked
for (contract section 6). Then two things are needed: the text so far, for the other one to go on
from; and events of the other one that fit behind those already shown, so that the caller sees one
stream.

The obvious way keeps every event that any attempt has sent. It keeps far more than the text, and
an attempt that fails before its first token, or loses a race, has said what nobody has seen. So
each attempt writes a part of its own, which belongs to the transcript once the attempt is adopted,
and of its events only what is needed later is kept: the inside of the text's JSON strings, a count,
and the names of the first.

1. Only plain text of a single choice is continued. A half-written tool call cannot be: its
   arguments are JSON that somebody else would have to guess.
2. White space at the end of the text is not sent to who goes on (Anthropic refuses it, and a
   tokenizer seldom begins where another one's token ended). What it repeats of that white space is
   taken off its first words, so that nothing stands twice at the join.
3. In the events of a later part `id` and `created` are the first part's, the role is not said
   again, and usage is the sum of all parts. `model` stays the truth.
4. A later part's events are read no more strictly than a first part's: only the members that change
   are decoded, and the others go on as they are.
"""

from collections.abc import Mapping
from itertools import takewhile
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta, Raw

from kproxy.errors import Fault, FaultKind
from kproxy.outcome import Usage
from kproxy.schema.reply import Output, decode_chunk
from kproxy.wire.sse import Event

__all__ = ["MAX_TEXT", "Part", "Transcript", "continued"]

MAX_TEXT = 262_144
"""Bytes of text, as JSON has it, that are kept; a longer answer is not continued."""

_NAMES = ("id", "created")  # of one stream, in each of its chunks
_MOST = 2**53  # as far as every reader of JSON counts
_QUOTES = 2
_NOTHING = Raw(b"")
_NULL = Raw(b"null")

Members = dict[str, Raw]
Count = Annotated[int, Meta(ge=0, le=_MOST)]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Members).decode
_decode_delta = msgspec.json.Decoder(Members | None).decode
_decode_choices = msgspec.json.Decoder(list[Members] | None).decode
_decode_text = msgspec.json.Decoder(str).decode


class _Names(msgspec.Struct, frozen=True):
    id: Raw = _NOTHING
    created: Raw = _NOTHING


class _Counts(msgspec.Struct, frozen=True):
    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count


_decode_names = msgspec.json.Decoder(_Names).decode
_decode_counts = msgspec.json.Decoder(_Counts).decode


class _Seam(NamedTuple):
    """What a later part is fitted to: the first part's names, white space that may be said again,
    and what the parts before have used."""

    names: Mapping[str, Raw]
    repeated: str
    earlier: Usage


class Part:
    """What one attempt says. It is nobody's before the transcript adopts it."""

    __slots__ = ("_repeated", "_room", "_seam", "names", "tokens", "written")

    def __init__(self, seam: _Seam | None, room: int) -> None:
        self._seam = seam
        self._room = room
        self._repeated = "" if seam is None else seam.repeated
        self.names = None if seam is None else seam.names
        self.tokens = 0  # events in which something was written
        self.written: bytearray | None = bytearray()  # insides of JSON strings; None: given up

    def __repr__(self) -> str:
        return f"<Part {self.tokens} tokens>"

    def take(self, event: Event) -> Event:
        """An event that is passed on; in a later part the event to pass on instead.

        Raises Fault (BAD_BODY) where it is no chunk that could be read or changed.
        """
        try:
            if self._seam is not None:
                event = self._fitted(event, self._seam)
            self._keep(event.data or b"")
        except (msgspec.MsgspecError, RecursionError) as error:
            raise Fault(FaultKind.BAD_BODY, "an event that does not fit behind others") from error
        return event

    def _keep(self, data: bytes) -> None:
        choices = decode_chunk(data).choices
        if not choices:
            return
        if self.names is None:
            self.names = _names(data)
        for choice in choices:
            delta = choice.delta
            if delta is not None:
                self.tokens += delta.output_bytes > 0
                self._write(delta)
            if choice.index:
                self.written = None

    def _write(self, delta: Output) -> None:
        written, said = self.written, bytes(delta.content)
        if written is None:
            return
        if not delta.is_text:
            self.written = None
        elif said.startswith(b'"') and len(written) + len(said) - _QUOTES <= self._room:
            written += said[1:-1]
        elif said not in (b"", b"null"):
            self.written = None  # a list of parts, or too much

    def _fitted(self, event: Event, seam: _Seam) -> Event:
        chunk = _decode(event.data or b"")
        chunk |= {name: raw for name, raw in seam.names.items() if name in chunk}
        choices = _decode_choices(chunk.get("choices", _NULL))
        if choices:
            chunk["choices"] = Raw(_encode([self._fitted_choice(choice) for choice in choices]))
        if "usage" in chunk:
            chunk["usage"] = _summed(chunk["usage"], seam.earlier)
        data = _encode(chunk)
        return Event(b"data: %b\n\n" % data, data, event.name)

    def _fitted_choice(self, choice: Members) -> Members:
        delta = _decode_delta(choice.get("delta", _NULL))
        if delta is None:
            return choice
        delta.pop("role", None)
        if self._repeated and bytes(delta.get("content", _NULL)).startswith(b'"'):
            delta["content"] = Raw(_encode(self._trimmed(_decode_text(delta["content"]))))
        return choice | {"delta": Raw(_encode(delta))}

    def _trimmed(self, said: str) -> str:
        """Without what stands at the end of the text already."""
        pairs = zip(said, self._repeated, strict=False)
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        self._repeated = self._repeated[same:] if same == len(said) else ""
        return said[same:]


class Transcript:
    """One streamed answer, in one or more parts."""

    __slots__ = ("_parts", "_seam")

    def __init__(self) -> None:
        self._parts: list[Part] = []
        self._seam: _Seam | None = None

    @classmethod
    def behind(cls, names: Members, earlier: Usage) -> "Transcript":
        """Of another answer in the same stream, behind one whose chunks have these names."""
        behind = cls()
        behind._seam = _Seam({name: names[name] for name in _NAMES if name in names}, "", earlier)
        return behind

    def __repr__(self) -> str:
        return f"<Transcript {len(self._parts)} parts>"

    def part(self) -> Part:
        """A part for one attempt: the first one, or behind a join one that fits to it."""
        return Part(self._seam, MAX_TEXT - sum(len(part.written or b"") for part in self._parts))

    def adopt(self, part: Part) -> None:
        """What this part has taken is shown, and what it will take."""
        self._parts.append(part)

    @property
    def tokens(self) -> int:
        """How many events with words or thoughts were shown. Providers send a token in each, so
        this is nearer to their own count than a guess from the text's length in bytes."""
        return sum(part.tokens for part in self._parts)

    def text(self) -> str | None:
        """The text that was shown; None where nobody can go on from it."""
        pieces = [part.written for part in self._parts if part.written is not None]
        if len(pieces) < len(self._parts):
            return None
        return _decode_text(b'"%b"' % b"".join(pieces)) or None

    def join(self, text: str, earlier: Usage) -> None:
        """Parts that begin from now on go on from `text`.

        `earlier` is what the parts before have used.
        """
        names = self._parts[0].names or {}
        self._seam = _Seam(names, text[len(text.rstrip()) :], earlier)


def _names(data: bytes) -> Members:
    found = _decode_names(data)
    named = {"id": found.id, "created": found.created}
    return {name: raw.copy() for name, raw in named.items() if raw}  # not a slice of the event


def _summed(told: Raw, earlier: Usage) -> Raw:
    """Usage with what the parts before have used; what is no count stays as it is."""
    try:
        usage = _decode_counts(told)
    except msgspec.MsgspecError:
        return told
    prompt = usage.prompt_tokens + earlier.prompt_tokens
    completion = usage.completion_tokens + earlier.completion_tokens
    sums = _Counts(prompt, completion, prompt + completion)
    return Raw(_encode(_decode(told) | _decode(_encode(sums))))


def continued(fields: Mapping[str, Raw], text: str, used: int) -> Members | None:
    """The members of a request that asks to go on from `text`, which took `used` tokens.

    The assistant's own beginning is the last message (a prefill), and limits on the answer's
    length are what is left of them; None where nothing is.
    """
    members = dict(fields)
    messages = bytes(fields["messages"]).rstrip()
    begun = _encode({"role": "assistant", "content": text.rstrip()})
    members["messages"] = Raw(b"%b,%b]" % (messages[:-1].rstrip(), begun))
    for name in ("max_tokens", "max_completion_tokens"):
        limit = msgspec.json.decode(fields[name]) if name in fields else None
        if isinstance(limit, int):
            if limit <= used:
                return None
            members[name] = Raw(b"%d" % (limit - used))
    return members

"""Calls of kproxy's own tools, told apart from the caller's: an answer in, what the caller sees of
it and what is to be carried out, out.

A plugin may give the model a tool that we carry out (contract section 9). The model's calls of it
are none of the caller's business: they are taken out of the answer, and where the answer ends with
nothing but such calls it is not over: it goes on with the next round, in the same stream.

The obvious way holds a round back until its end shows whether it was the last. Then nothing would
be streamed at all, since any round may be the last. But what is to be hidden can be told at once: a
call's first piece names its tool. So words pass as they come, pieces of our calls are held back,
and only the end of a round waits for what it means:

1. All calls are ours and the model has ended its turn: the round goes on. The chunk with the finish
   reason and the usage do not leave; the last round's will.
2. The caller's tools are called beside ours: the answer is the caller's. Ours are left out as if
   they had not been made, since the caller answers first; the model may make them again.
3. The answer was cut (`length`, `content_filter`): a half call is not carried out.
4. No further round is allowed: ours are left out. Where that leaves nothing but an end, the finish
   reason is `length`: a limit has cut the answer.

What the rounds have said is one text: between the words of two rounds stands an empty line. `index`
of the caller's calls counts theirs alone.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec
from msgspec import Raw

from kproxy.errors import Fault, FaultKind
from kproxy.schema.reply import ChunkChoice, decode_chunk
from kproxy.wire.sse import Event

__all__ = [
    "BETWEEN",
    "LENGTH",
    "MOST_BYTES",
    "Call",
    "Calls",
    "Said",
    "chunk_of",
    "goes_on",
    "usage_of",
]

Members = dict[str, Raw]

MOST_BYTES = 1_048_576
"""Of calls and words of one round; a model's whole answer is a tenth of it."""

LENGTH = "length"
BETWEEN = "\n\n"
_ENDED = frozenset({"tool_calls", "function_call", "stop"})  # the model has said all it wanted to
_NULL = Raw(b"null")
_EMPTY = frozenset({b"null", b'""'})

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Members).decode
_decode_choices = msgspec.json.Decoder(list[Members]).decode
_decode_delta = msgspec.json.Decoder(Members | None).decode
_decode_calls = msgspec.json.Decoder(list[Members]).decode


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Piece(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


_decode_pieces = msgspec.json.Decoder(list[_Piece]).decode


class Call(NamedTuple):
    """One call that the model has made of a tool of ours. `members` are those of its first piece:
    some providers want back what they have put there."""

    id: str
    name: str
    arguments: str
    members: Mapping[str, Raw]


class Said(NamedTuple):
    """A round as the next one has to know it."""

    text: str
    reasoning: str
    calls: Sequence[Call]


def goes_on(finish: str | None, ours: int, theirs: int) -> bool:
    """Whether an answer that ends so is only a round."""
    return finish in _ENDED and ours > 0 and theirs == 0


class _Begun:
    """A call of ours on its way."""

    __slots__ = ("arguments", "id", "members", "name")

    def __init__(self, piece: _Piece, members: Members, number: int) -> None:
        self.id = piece.id or f"call_{number}"
        self.name = "" if piece.function is None else piece.function.name or ""
        self.arguments: list[str] = []
        self.members = {name: raw.copy() for name, raw in members.items() if name != "index"}


class Calls:
    """One streamed round. `ours` are the names of our tools; `last`: no round may follow.

    `text` is what the caller has been shown of the answer before this attempt, `begun` how much of
    that is this round's (a broken stream is continued).
    """

    __slots__ = (
        "_begun", "_joint", "_last", "_number", "_ours", "_reasoning", "_room", "_said",
        "_theirs", "frame", "goes_on",
    )  # fmt: skip

    def __init__(
        self, ours: Collection[str], text: str = "", begun: str = "", *, last: bool = False
    ) -> None:
        self._ours = ours
        self._last = last
        self._joint = BETWEEN if text and not begun else ""
        self._said = [begun]
        self._reasoning: list[str] = []
        self._room = MOST_BYTES
        self._begun: dict[int, _Begun] = {}
        self._theirs: dict[int, int] = {}  # the provider's index to the caller's
        self._number = -1  # the index of the latest call, for providers that leave it out
        self.frame: Members = {}  # what stands in every chunk of this stream
        self.goes_on = False

    def __repr__(self) -> str:
        return f"<Calls {len(self._begun)} ours, {len(self._theirs)} theirs>"

    @property
    def said(self) -> Said:
        """The round as it was."""
        calls = [
            Call(one.id, one.name, "".join(one.arguments), one.members)
            for one in self._begun.values()
        ]
        return Said("".join(self._said), "".join(self._reasoning), calls)

    def take(self, event: Event) -> Event:
        """The event to pass on; its `raw` is empty where nothing of it is for the caller.

        Raises Fault (BAD_BODY, TOO_LARGE).
        """
        data = event.data or b""
        if self.goes_on:  # usage, and what else may come behind the end
            return Event(b"", data, event.name)
        try:
            choices = decode_chunk(data).choices
            if not choices:
                return event
            if not self.frame:
                self._keep_frame(data)
            if not any(map(self._concerns, choices)):
                return event
            return self._changed(event, data)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise Fault(FaultKind.BAD_BODY, "an event whose calls cannot be read") from error

    def _concerns(self, choice: ChunkChoice) -> bool:
        """Note what is said; whether the chunk must be looked into."""
        delta, finish = choice.delta, choice.finish_reason
        ends = finish is not None and bool(self._begun)
        if delta is None:
            return ends
        text = delta.text
        if text:
            self._note(self._said, text)
        if bytes(delta.reasoning_content).startswith(b'"'):
            self._note(self._reasoning, msgspec.json.decode(delta.reasoning_content, type=str))
        calls = bytes(delta.tool_calls) not in (b"", b"null")
        return ends or calls or bool(text and self._joint)

    def _note(self, into: list[str], text: str) -> None:
        self._room -= len(text)
        if self._room < 0:
            raise Fault(FaultKind.TOO_LARGE, "a round too large to go on from")
        into.append(text)

    def _keep_frame(self, data: bytes) -> None:
        left_out = ("choices", "usage", "x_kairosroute", "obfuscation")
        chunk = _decode(data)
        self.frame = {name: raw.copy() for name, raw in chunk.items() if name not in left_out}

    def _changed(self, event: Event, data: bytes) -> Event:
        chunk = _decode(data)
        choices = [self._choice(choice) for choice in _decode_choices(chunk["choices"])]
        if not any(map(_says, choices)):
            return Event(b"", data, event.name)
        data = _encode(chunk | {"choices": Raw(_encode(choices))})
        return Event(b"data: %b\n\n" % data, data, event.name)

    def _choice(self, choice: Members) -> Members:
        delta = _decode_delta(choice.get("delta", _NULL)) or {}
        if bytes(delta.get("tool_calls", _NULL)) != b"null":
            theirs = self._told_apart(delta.pop("tool_calls"))
            if theirs:
                delta["tool_calls"] = Raw(_encode(theirs))
        content = bytes(delta.get("content", _NULL))
        if self._joint and content not in _EMPTY and content.startswith(b'"'):
            joint, self._joint = self._joint, ""
            delta["content"] = Raw(_encode(joint)[:-1] + content[1:])
        changed = choice | {"delta": Raw(_encode(delta))}
        finish = msgspec.json.decode(choice.get("finish_reason", _NULL))
        if finish is not None and self._begun:
            changed["finish_reason"] = Raw(_encode(self._finish(str(finish))))
        return changed

    def _finish(self, finish: str) -> str | None:
        """The finish reason for the caller; None: it is none for the caller."""
        if not goes_on(finish, len(self._begun), len(self._theirs)):
            return finish
        self.goes_on = not self._last
        return LENGTH if self._last else None

    def _told_apart(self, calls: Raw) -> list[Members]:
        """Note ours; the pieces of the caller's calls, counted by themselves."""
        theirs: list[Members] = []
        for piece, members in zip(_decode_pieces(calls), _decode_calls(calls), strict=True):
            index = self._index(piece)
            if index not in self._begun and index not in self._theirs:
                self._first(index, piece, members)
            if index in self._theirs:
                theirs.append(members | {"index": Raw(b"%d" % self._theirs[index])})
            elif piece.function is not None and piece.function.arguments:
                self._note(self._begun[index].arguments, piece.function.arguments)
        return theirs

    def _index(self, piece: _Piece) -> int:
        if piece.index is not None:
            self._number = piece.index
        elif piece.id or self._number < 0:
            self._number += 1
        return self._number

    def _first(self, index: int, piece: _Piece, members: Members) -> None:
        if len(self._begun) + len(self._theirs) >= MOST_BYTES // 1024:
            raise Fault(FaultKind.TOO_LARGE, "too many calls in one round")
        name = None if piece.function is None else piece.function.name
        if name in self._ours:
            self._begun[index] = _Begun(piece, members, len(self._begun))
        else:
            self._theirs[index] = len(self._theirs)


def _says(choice: Members) -> bool:
    """Whether a choice has anything left for the caller."""
    if bytes(choice.get("finish_reason", _NULL)) != b"null":
        return True
    delta = _decode_delta(choice.get("delta", _NULL)) or {}
    return any(bytes(raw) not in _EMPTY for raw in delta.values())


def chunk_of(
    frame: Members, text: str = "", finish: str | None = None, images: Sequence[Raw] = ()
) -> bytes:
    """The data of a chunk of our own in that stream: words and pictures, or an end."""
    delta: dict[str, object] = {"content": text} if text else {}
    if images:
        delta["images"] = images
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return _encode(frame | {"choices": Raw(_encode([choice]))})


def usage_of(frame: Members, usage: Raw) -> bytes:
    """The data of a usage chunk of our own in that stream."""
    return _encode(frame | {"choices": Raw(b"[]"), "usage": usage})

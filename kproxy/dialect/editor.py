"""Editors of a stream's text, and what applies them: one chunk event in, the event to pass on out.

An editor sees the text of each choice piece by piece and says what of it may leave now. It may hold
text back, change it, and say at the choice's end what is still due. Healing is one, content rules
are others; several are applied in order, each to what the one before lets through.

1. An event whose text no editor changes passes byte for byte, and so does one without text.
2. Of a changed event only `delta.content` is new. Its `logprobs` go: they repeat the text.
3. What is due at the end leaves as one more delta before the chunk with the finish reason.
4. A choice that never has a finish reason is cut where the stream ends: `rest` is what is due then.
5. Content that is no string (a list of parts) is not text, and passes.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import msgspec
from msgspec import Raw

from kproxy.errors import Fault, FaultKind
from kproxy.schema.reply import decode_chunk
from kproxy.wire.sse import Event

__all__ = ["Edited", "Editor"]

Members = dict[str, Raw]

CUT = "length"
"""The finish reason of a choice that has none."""

_NO_TEXT = Raw(b'""')
_NULL = Raw(b"null")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Members).decode
_decode_delta = msgspec.json.Decoder(Members | None).decode
_decode_choices = msgspec.json.Decoder(list[Members]).decode


class Editor(Protocol):
    """See the module. One instance belongs to one stream."""

    def text(self, choice: int, piece: str) -> str:
        """What of the text may leave now."""
        ...

    def end(self, choice: int, finish: str) -> str:
        """What is still due before the choice's finish reason. May raise Rejected/Fault."""
        ...


class _Change(NamedTuple):
    """What becomes of one choice in one event."""

    text: str | None  # in place of its content; None: as it was
    due: str  # in a delta of its own, before


class Edited:
    """The editors of one stream, in order."""

    __slots__ = ("_editors", "_ended", "_frame", "_open")

    def __init__(self, editors: Sequence[Editor]) -> None:
        self._editors = tuple(editors)
        self._ended: dict[int, str] = {}  # choices, and why
        self._open: set[int] = set()  # choices that have text and no end
        self._frame = b"{}"  # a chunk as this provider writes them

    def __repr__(self) -> str:
        return f"<Edited by {len(self._editors)}>"

    def take(self, event: Event) -> Event:
        """The event to pass on; its `raw` may hold one more before it, or nothing.

        Raises Fault (BAD_BODY) where it is no chunk that could be changed, and what an editor does.
        """
        data = event.data or b""
        try:
            choices = decode_chunk(data).choices or ()
            changes = [
                self._change(choice.index or 0, _text(choice.delta), choice.finish_reason)
                for choice in choices
            ]
            self._frame = data
            if all(text is None and not due for text, due in changes):
                return event
            return _changed(event, changes)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise Fault(FaultKind.BAD_BODY, "an event that cannot be edited") from error

    def _change(self, index: int, said: str, finish: str | None) -> _Change:
        text = said
        for editor in self._editors:
            text = editor.text(index, text) if text else ""
        finish = self._finish(index, said, finish)
        if finish is None:
            if said:
                self._open.add(index)
            return _Change(None if text == said else text, "")
        due = self._due(index, finish)
        if not due:
            return _Change(None if text == said else text, "")
        return _Change("" if said else None, text + due)

    def rest(self) -> bytes:
        """What is due of choices without an end, as an event; the stream has ended. Once. Raises
        Fault, and what an editor does."""
        due = {index: self._due(index, CUT) for index in sorted(self._open)}
        self._open.clear()
        choices = [_due({"index": Raw(_encode(at))}, text) for at, text in due.items() if text]
        if not choices:
            return b""
        try:
            chunk = _decode(self._frame)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise Fault(FaultKind.BAD_BODY, "an event that cannot be edited") from error
        kept = {
            name: value for name, value in chunk.items() if name not in ("usage", "x_kairosroute")
        }
        return b"data: %b\n\n" % _encode({**kept, "choices": choices})

    def _due(self, index: int, finish: str) -> str:
        """What is due at the end of a choice."""
        self._open.discard(index)
        due = ""
        for editor in self._editors:
            due = editor.text(index, due) if due else ""
            due += editor.end(index, finish)
        return due

    def _finish(self, index: int, said: str, finish: str | None) -> str | None:
        """Why the choice ends here; text that comes behind its end is ended at once."""
        if index not in self._ended:
            if finish is not None:
                self._ended[index] = finish
            return finish
        return self._ended[index] if said else None


def _text(delta: object) -> str:
    return getattr(delta, "text", "")


def _changed(event: Event, changes: Sequence[_Change]) -> Event:
    """The event with these changes, one for each of its choices."""
    chunk = _decode(event.data or b"")
    choices = _decode_choices(chunk["choices"])
    extra = [_due(choice, change.due) for choice, change in zip(choices, changes, strict=True)]
    raw = b""
    if any(extra):
        before = {name: value for name, value in chunk.items() if name != "usage"}
        before["choices"] = Raw(_encode([choice for choice in extra if choice]))
        raw = b"data: %b\n\n" % _encode(before)
    edited = [_edited(choice, change.text) for choice, change in zip(choices, changes, strict=True)]
    chunk["choices"] = Raw(_encode(edited))
    data = _encode(chunk)
    if raw or not all(map(_is_empty, edited)):
        raw += b"data: %b\n\n" % data
    return Event(raw, data, event.name)


def _due(choice: Members, due: str) -> Members:
    """A choice of the delta before; empty where nothing is due."""
    if not due:
        return {}
    said = {"index": choice.get("index", Raw(b"0")), "finish_reason": _NULL}
    return {**said, "delta": Raw(_encode({"content": due}))}


def _edited(choice: Members, text: str | None) -> Members:
    if text is None:
        return choice
    delta = _decode_delta(choice.get("delta", _NULL)) or {}
    delta["content"] = Raw(_encode(text)) if text else _NO_TEXT
    kept = {name: value for name, value in choice.items() if name != "logprobs"}
    return {**kept, "delta": Raw(_encode(delta))}


def _is_empty(choice: Members) -> bool:
    """Whether nothing is left to say: its text was held back, and it had nothing else."""
    if choice.get("finish_reason", _NULL) != _NULL:
        return False
    delta = _decode_delta(choice.get("delta", _NULL))
    return delta is not None and list(delta) == ["content"] and delta["content"] == _NO_TEXT

"""Anthropic's events in, OpenAI's chunks out: one translated stream.

Problem: Anthropic tells a message as blocks that open, grow and close, OpenAI as pieces of one
choice; a reader of the second must not have to know the first. And whatever a provider sends out of
turn must end as a fault, never as an answer that looks whole.

The obvious way maps each event by its type and forgets it. Then a block that never closed, two
beginnings or a text inside a tool call pass unseen.

Our way: a table (`states.py`) says what may come when, for every state; whatever it does not name
breaks the stream. What an event means for the reader is one function per kind (`WORDS`), and those
look neither back nor forward, but for the number of the call that is open and the counts.

1. Text, arguments and thoughts are moved as the JSON strings that they came as, not decoded.
2. A call's id and name are said once, when it opens, then its arguments in pieces; a call without
   arguments is `{}`. The calls of an answer are numbered from 0, whatever the blocks are.
3. The finish reason and the usage come from `message_delta`, whose counts are sums; `message_stop`
   becomes `[DONE]`.
4. Blocks of tools that run at Anthropic, signatures, citations and events of kinds that are to come
   are passed over. A `ping` becomes a comment: a sign of life.
5. An error keeps its place in the stream: as an event named `error`; what is out of turn as one
   whose data are no JSON. Whoever reads the chunks raises the fault there.

Source: the Messages API's streaming events, as the official client parses them (November 2026).
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec
from msgspec import Raw

from kproxy.dialect.anthropic.counts import (
    NO_COUNTS,
    Counts,
    finish_reason,
    read_counts,
    usage,
)
from kproxy.dialect.anthropic.states import MOVES, Said, State
from kproxy.dialect.base import Events
from kproxy.wire.sse import Event

__all__ = ["WORDS", "Chunks"]


_ABSENT = Raw(b"")
_EMPTY = b'""'


class _Message(msgspec.Struct, frozen=True):
    id: str = ""
    model: str | None = None
    usage: Raw = _ABSENT


class _Block(msgspec.Struct, frozen=True):
    type: str
    id: str = ""
    name: str = ""
    text: Raw = Raw(_EMPTY)
    thinking: Raw = Raw(_EMPTY)
    input: Raw = _ABSENT


class _Delta(msgspec.Struct, frozen=True):
    type: str | None = None
    text: Raw = _ABSENT
    partial_json: Raw = _ABSENT
    thinking: Raw = _ABSENT
    stop_reason: str | None = None


class _Told(msgspec.Struct, frozen=True):
    type: str
    message: _Message | None = None
    index: int | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: Raw = _ABSENT


_decode = msgspec.json.Decoder(_Told).decode
_encode = msgspec.json.Encoder().encode

_BLOCKS = {"text": Said.OPEN_TEXT, "tool_use": Said.OPEN_CALL, "thinking": Said.OPEN_THOUGHT}
_DELTAS = {
    "text_delta": Said.TEXT,
    "input_json_delta": Said.ARGUMENTS,
    "thinking_delta": Said.THOUGHT,
}
_PLAIN = {
    "content_block_stop": Said.CLOSE,
    "message_stop": Said.STOP,
    "ping": Said.PING,
    "error": Said.ERROR,
}


class Chunks:
    """The chunks of one stream; `reader` gives its events. `created` is Unix time."""

    __slots__ = ("_bare", "_block", "_calls", "_counts", "_created", "_head", "_reader", "state")

    def __init__(self, reader: Events, created: int) -> None:
        self._reader = reader
        self._created = created
        self._head = b""  # of every chunk, once the message has begun
        self._block: int | None = None  # the index of the open one
        self._calls = 0  # that have been opened
        self._bare = False  # a call is open whose arguments have not begun
        self._counts: Counts = NO_COUNTS
        self.state = State.START

    def __repr__(self) -> str:
        return f"<Chunks {self.state.value} {self._calls} calls>"

    def feed(self, payload: bytes) -> list[Event]:
        """See `Events`. Raises ProtocolError past a limit."""
        return self._translated(self._reader.feed(payload))

    def eof(self) -> list[Event]:
        """See `Events`."""
        return self._translated(self._reader.eof())

    def _translated(self, events: list[Event]) -> list[Event]:
        return [chunk for event in events for chunk in self._event(event)]

    def _event(self, event: Event) -> list[Event]:
        if not event.data:
            return [event]  # a comment, or nothing
        try:
            if not event.data.isascii():
                event.data.decode()  # raw slices are not checked by the parser
            told = _decode(event.data)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            return self._break()
        said = _said(told)
        following = MOVES[self.state].get(said)
        if following is None or not self._is_in_place(said, told):
            return self._break()
        self.state = following
        return WORDS[said](self, told)

    def _break(self) -> list[Event]:
        self.state = State.BROKEN
        return [Event(b"", b"out of turn")]

    def _is_in_place(self, said: Said, told: _Told) -> bool:
        """Whether a piece belongs to the open block, and is a string."""
        if said in (Said.TEXT, Said.ARGUMENTS, Said.THOUGHT, Said.MORE, Said.CLOSE):
            return told.index == self._block and (said is Said.CLOSE or _is_string(said, told))
        return told.content_block is None or (
            _quoted(told.content_block.text) and _quoted(told.content_block.thinking)
        )

    def _chunk(self, delta: bytes, finish: bytes = b"null") -> list[Event]:
        choice = b'"choices":[{"index":0,"delta":%b,"finish_reason":%b}]}' % (delta, finish)
        return [_data(self._head + choice)]

    def _begin(self, told: _Told) -> list[Event]:
        message = told.message or _Message()
        self._counts = read_counts(message.usage)
        self._head = (
            b'{"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,'
        ) % (_encode(message.id), self._created, _encode(message.model))  # fmt: skip
        return self._chunk(b'{"role":"assistant","content":""}')

    def _open(self, told: _Told) -> list[Event]:
        self._block = told.index
        return []

    def _open_text(self, told: _Told) -> list[Event]:
        self._block = told.index
        return [] if told.content_block is None else self._text(told.content_block.text)

    def _open_thought(self, told: _Told) -> list[Event]:
        self._block = told.index
        return [] if told.content_block is None else self._thought(told.content_block.thinking)

    def _open_call(self, told: _Told) -> list[Event]:
        block = told.content_block
        assert block is not None, "its kind was read from it"
        self._block = told.index
        whole = bytes(block.input)  # Anthropic sends {} here, and the rest in pieces
        self._bare = whole in (b"", b"{}", b"null")
        arguments = _EMPTY if self._bare else _encode(whole.decode())
        self._calls += 1
        return self._chunk(
            b'{"tool_calls":[{"index":%d,"id":%b,"type":"function","function":'
            b'{"name":%b,"arguments":%b}}]}'
            % (self._calls - 1, _encode(block.id), _encode(block.name), arguments)
        )

    def _text(self, text: bytes | Raw) -> list[Event]:
        piece = bytes(text)
        return [] if piece == _EMPTY else self._chunk(b'{"content":%b}' % piece)

    def _thought(self, text: bytes | Raw) -> list[Event]:
        piece = bytes(text)
        return [] if piece == _EMPTY else self._chunk(b'{"reasoning_content":%b}' % piece)

    def _arguments(self, piece: bytes) -> list[Event]:
        if piece == _EMPTY or self.state is not State.CALL:
            return []
        self._bare = False
        return self._call_piece(piece)

    def _call_piece(self, piece: bytes) -> list[Event]:
        return self._chunk(
            b'{"tool_calls":[{"index":%d,"function":{"arguments":%b}}]}' % (self._calls - 1, piece)
        )

    def _piece(self, told: _Told) -> list[Event]:
        delta = told.delta or _Delta()
        if delta.type == "text_delta":
            return self._text(delta.text)
        if delta.type == "thinking_delta":
            return self._thought(delta.thinking)
        return self._arguments(bytes(delta.partial_json))

    def _close(self, _: _Told) -> list[Event]:
        bare, self._bare = self._bare, False
        self._block = None
        return self._call_piece(b'"{}"') if bare else []

    def _end(self, told: _Told) -> list[Event]:
        self._used(told)
        stopped = None if told.delta is None else told.delta.stop_reason
        chunks = self._chunk(b"{}", _encode(finish_reason(stopped or "")))
        counted = usage(self._counts) if told.usage else None
        if counted is not None:
            chunks.append(_data(b'%b"choices":[],"usage":%b}' % (self._head, _encode(counted))))
        return chunks

    def _used(self, told: _Told) -> list[Event]:
        self._counts = self._counts.then(read_counts(told.usage))
        return []

    def _nothing(self, _: _Told) -> list[Event]:
        return []

    def _stop(self, _: _Told) -> list[Event]:
        return [Event(b"data: [DONE]\n\n", b"[DONE]")]

    def _alive(self, _: _Told) -> list[Event]:
        return [Event(b": ping\n\n", None)]

    def _fail(self, _: _Told) -> list[Event]:
        return [Event(b"", b"{}", b"error")]


WORDS: Mapping[Said, Callable[[Chunks, _Told], list[Event]]] = MappingProxyType(
    {
        Said.BEGIN: Chunks._begin,
        Said.OPEN_TEXT: Chunks._open_text,
        Said.OPEN_CALL: Chunks._open_call,
        Said.OPEN_THOUGHT: Chunks._open_thought,
        Said.OPEN_OTHER: Chunks._open,
        Said.TEXT: Chunks._piece,
        Said.ARGUMENTS: Chunks._piece,
        Said.THOUGHT: Chunks._piece,
        Said.MORE: Chunks._nothing,
        Said.CLOSE: Chunks._close,
        Said.END: Chunks._end,
        Said.USED: Chunks._used,
        Said.STOP: Chunks._stop,
        Said.PING: Chunks._alive,
        Said.ERROR: Chunks._fail,
        Said.UNKNOWN: Chunks._nothing,
    }
)
"""What each kind of event makes of the stream, once it is in its place."""


def _said(told: _Told) -> Said:
    delta, block = told.delta, told.content_block
    if told.type == "content_block_delta":
        return _DELTAS.get(delta.type or "", Said.MORE) if delta is not None else Said.MORE
    if told.type == "content_block_start":
        return _BLOCKS.get(block.type, Said.OPEN_OTHER) if block is not None else Said.OPEN_OTHER
    if told.type == "message_start":
        return Said.BEGIN
    if told.type == "message_delta":
        return Said.USED if delta is None or delta.stop_reason is None else Said.END
    return _PLAIN.get(told.type, Said.UNKNOWN)


def _is_string(said: Said, told: _Told) -> bool:
    delta = told.delta or _Delta()
    pieces = {
        Said.TEXT: delta.text,
        Said.ARGUMENTS: delta.partial_json,
        Said.THOUGHT: delta.thinking,
    }
    return said not in pieces or _quoted(pieces[said])


def _quoted(raw: Raw) -> bool:
    return bytes(raw).startswith(b'"')


def _data(data: bytes) -> Event:
    return Event(b"data: %b\n\n" % data, data)

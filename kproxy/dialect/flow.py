"""One streamed answer: the provider's bytes in, the caller's bytes out, and what they amounted to.

Problem: bytes should go through as they came, yet some must wait and some must go. Before the
first token nothing may leave, because another attempt may still take this one's place. The chunk
with the last finish reason must carry `x_kairosroute`, whose cost is known only from the usage
chunk behind it. And a caller who did not ask for usage must never meet an empty `choices`.

The obvious way decodes every event and encodes it anew. It costs four times as much and loses what
the provider said in members that we do not know.

Our way: bytes are cut at event boundaries, each event is decoded once to be believed, and the
*original bytes* go on. An event that is not yet whole waits; nobody can use half an event, so this
costs no latency, and a stream that is cut never ends inside one. Only the tail is held:

    OPEN      events pass; before the first token they gather instead
    FINISHED  the last finish chunk is held for the usage
    DONE      `[DONE]` was passed on, or an end after a finish reason stood in for it

What ends otherwise is a Fault, raised at the event that shows it; what had to be passed on before
that event has been returned by earlier calls or stands in `unsent`.

We do not look into text, and do not forward what follows `[DONE]`.
"""

import enum
from collections.abc import Callable

import msgspec

from kproxy.dialect.base import ChunkFacts, Dialect
from kproxy.errors import Fault, FaultKind
from kproxy.schema.reply import ReplyUsage
from kproxy.wire.events import ProtocolError
from kproxy.wire.sse import Event, EventReader

__all__ = ["DONE", "Flow", "FlowState", "splice"]

DONE = b"data: [DONE]\n\n"

MAX_BEFORE_TOKEN = 1_048_576
"""Bytes that may gather before the first token; a preamble is a few hundred."""


class FlowState(enum.Enum):
    """Where a streamed answer stands."""

    OPEN = "open"
    FINISHED = "finished"
    DONE = "done"


class Flow:
    """The reader of one streamed answer.

    `choices` is the request's `n`; `wants_usage` says whether the caller asked for the usage
    chunk; `extension` makes the `x_kairosroute` object from the usage, once, when it is known.
    """

    __slots__ = (
        "_choices", "_dialect", "_extension", "_finishes", "_gathered", "_held", "_reader",
        "_wants_usage", "committed", "state", "text", "unsent", "usage",
    )  # fmt: skip

    def __init__(
        self,
        dialect: Dialect,
        reader: EventReader,
        choices: int,
        wants_usage: bool,
        extension: Callable[["Flow"], bytes],
    ) -> None:
        self._dialect = dialect
        self._reader = reader
        self._choices = choices
        self._wants_usage = wants_usage
        self._extension = extension
        self._finishes = 0
        self._gathered = bytearray()  # events before the first token
        self._held: bytes | None = None  # the finish chunk that waits for the usage
        self.committed = False
        self.state = FlowState.OPEN
        self.text = 0
        self.usage: ReplyUsage | None = None
        self.unsent = b""

    def __repr__(self) -> str:
        return f"<Flow {self.state.value} {self.text} bytes of text>"

    def take(self, payload: bytes) -> bytes:
        """Body bytes of the provider to body bytes for the caller. Raises Fault.

        Where it raises, `unsent` holds what the caller should still get before the error.
        """
        try:
            events = self._reader.feed(payload)
        except ProtocolError as error:
            raise Fault(FaultKind.TOO_LARGE, error.message) from error
        if len(events) == 1 and not self._reader.pending and self.committed:
            out = self._event(events[0])  # the common case: one event, one write
            return out if out is not None else b""
        parts: list[bytes] = []
        try:
            for event in events:
                out = self._event(event)
                if out is not None:
                    parts.append(out)
        except Fault:
            self.unsent = b"".join(parts) if self.committed else b""
            raise
        return b"".join(parts)

    def end(self) -> bytes:
        """The provider's body has ended: what is still due to the caller. Raises Fault.

        An end after every finish reason is a good one, with or without `[DONE]`.
        """
        if self.state is FlowState.DONE:
            return b""
        if self.state is FlowState.OPEN:
            raise Fault(FaultKind.CLOSED_EARLY, "the stream ended without a finish reason")
        self.state = FlowState.DONE
        return self._release() + DONE

    def _event(self, event: Event) -> bytes | None:
        data = event.data
        if self.state is FlowState.DONE:
            return None
        if data is None:  # a comment: keep-alive of the provider
            return event.raw if self.committed and self._held is None else None
        if data.startswith(b"[DONE]"):
            return self._done()
        if event.name == b"error":
            raise Fault(FaultKind.ERROR_EVENT, "an error inside the stream")
        facts = self._dialect.read_chunk(data)
        if facts.usage is not None:
            self.usage = facts.usage
        if facts.empty:
            return self._empty(event.raw, facts)
        if facts.finishes == 0 and self._held is None and self.committed:
            self.text += facts.text
            return event.raw
        return self._choice(event.raw, facts)

    def _choice(self, raw: bytes, facts: ChunkFacts) -> bytes | None:
        """A chunk before the commit point, or with a finish reason, or behind a held one."""
        self.text += facts.text
        self._finishes += facts.finishes
        released = self._held or b""
        self._held = None
        if self._finishes >= self._choices and facts.finishes:
            self.state = FlowState.FINISHED
            self._held = untag(raw) if facts.tagged else raw
        else:
            released += raw
        if self.committed:
            return released
        self._gathered += released
        if facts.token or self.state is FlowState.FINISHED:
            return self._commit()
        if len(self._gathered) > MAX_BEFORE_TOKEN:
            raise Fault(FaultKind.TOO_LARGE, "too much before the first token")
        return None

    def _commit(self) -> bytes:
        self.committed = True
        gathered = bytes(self._gathered)
        self._gathered.clear()
        return gathered

    def _empty(self, raw: bytes, facts: ChunkFacts) -> bytes | None:
        """A chunk without choices: the usage, or a preamble such as a prompt's filter results."""
        if self._held is not None and facts.usage is not None:
            if not self._wants_usage:
                return self._release()
            held, self._held = self._held, None
            chunk = untag(raw) if facts.tagged else raw
            return held + splice(chunk, self._extension(self))
        if not self._wants_usage:
            return None
        if self.committed:
            return raw
        self._gathered += raw
        return None

    def _done(self) -> bytes:
        if self.state is FlowState.OPEN:
            raise Fault(FaultKind.NO_CONTENT, "the stream ended without a finish reason")
        self.state = FlowState.DONE
        return self._release() + DONE

    def _release(self) -> bytes:
        held, self._held = self._held, None
        return b"" if held is None else splice(held, self._extension(self))


def splice(chunk: bytes, extension: bytes) -> bytes:
    """`chunk`, whose JSON object ends at its last brace, with `x_kairosroute` as last member."""
    at = chunk.rindex(b"}")
    return b'%b,"x_kairosroute":%b%b' % (chunk[:at], extension, chunk[at:])


def untag(chunk: bytes) -> bytes:
    """`chunk` without an `x_kairosroute` of its own, so that ours does not stand twice."""
    start, end = chunk.index(b"{"), chunk.rindex(b"}") + 1
    members = msgspec.json.decode(chunk[start:end], type=dict[str, msgspec.Raw])
    members.pop("x_kairosroute", None)
    return chunk[:start] + msgspec.json.encode(members) + chunk[end:]

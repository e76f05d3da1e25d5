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
    FINISHED  every choice has its finish reason; the last chunk is held for the usage
    DONE      `[DONE]` was passed on, or an end after the finish reasons stood in for it

A chunk with a finish reason is held until the next one shows whether it was the last, and so is
what a provider sends behind its last finish reason. Usage without choices ends the waiting: it
carries `x_kairosroute` for who asked for it, and is taken out for who did not. `[DONE]` behind a
held chunk is a good end also where a provider gives fewer choices than `n`; an end of the
connection is one only where all `n` have finished.

An attempt may have a whole answer in one read and still lose the race for the caller. So behind the
last finish reason nothing is looked at before the attempt is adopted.

What ends otherwise is a Fault, raised at the event that shows it; what had to be passed on before
that event has been returned by earlier calls or stands in `unsent`.

We do not look into text, and do not forward what follows `[DONE]`. Comments are forwarded as signs
of life where nothing waits, and dropped elsewhere. So are events whose data are empty: by the
standard they are none (WHATWG HTML, section 9.2.6), and OpenAI's clients fail on them.
"""

import enum
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from kproxy.dialect.base import ChunkFacts, Dialect, Events
from kproxy.dialect.calls import Calls
from kproxy.dialect.editor import Edited
from kproxy.dialect.transcript import Transcript
from kproxy.errors import Fault, FaultKind, Rejected
from kproxy.schema.reply import ReplyUsage
from kproxy.wire.events import ProtocolError
from kproxy.wire.sse import Event

__all__ = ["DONE", "MAX_BEFORE_TOKEN", "Flow", "FlowState", "Wanted", "splice", "untag"]

DONE = b"data: [DONE]\n\n"

MAX_BEFORE_TOKEN = 1_048_576
"""Bytes that may gather before the first token; a preamble is a few hundred."""


MOST_REASONS, LONGEST_REASON = 16, 128
"""Of finish reasons that are remembered, and their characters."""


class FlowState(enum.Enum):
    """Where a streamed answer stands."""

    OPEN = "open"
    FINISHED = "finished"
    DONE = "done"


class Wanted(NamedTuple):
    """What the caller asked for: the request's `n`, and whether the usage chunk."""

    choices: int
    usage: bool


class Flow:
    """The reader of one streamed answer.

    `extension` makes the `x_kairosroute` object from the usage, once, when it is known.
    `transcript` remembers what was shown, where a broken stream may be continued by another one; of
    that other one it makes the events fit what was shown. This answer's part is its own until it is
    adopted. `edited` and `calls` may be set before the first byte. `calls` takes calls of our own
    tools out, and says whether the answer goes on in another round; then no end is passed on, and
    no extension is made.
    """

    __slots__ = (
        "_choices", "_dialect", "_extension", "_finished", "_gathered", "_held", "_part",
        "_placed", "_reader", "_stash", "_transcript", "_wants_usage", "adopted", "calls",
        "committed", "cut_short", "edited",
        "model", "reasons", "state", "text", "unsent", "usage",
    )  # fmt: skip

    def __init__(
        self,
        dialect: Dialect,
        reader: Events,
        wanted: Wanted,
        extension: Callable[["Flow"], bytes],
        transcript: Transcript | None = None,
    ) -> None:
        self._dialect = dialect
        self._reader = reader
        self._choices = wanted.choices
        self._wants_usage = wanted.usage
        self._extension = extension
        self._transcript = transcript
        self._part = None if transcript is None else transcript.part()
        self._finished: set[int] = set()  # choices that have ended, by index
        self._gathered = bytearray()  # events before the first token
        self._held: Event | None = None  # the chunk that may turn out to be the last
        self._placed = False  # x_kairosroute has left
        self._stash: list[Event] = []  # events that wait for the adoption
        self.edited: Edited | None = None  # changes the text on its way, where somebody is to
        self.calls: Calls | None = None
        self.adopted = False
        self.cut_short = False  # something wrong came behind a whole answer
        self.committed = False
        self.state = FlowState.OPEN
        self.text = 0
        self.reasons: tuple[str, ...] = ()  # why its choices have ended, and whose words they were
        self.model: str | None = None
        self.usage: ReplyUsage | None = None
        self.unsent = b""

    def __repr__(self) -> str:
        return f"<Flow {self.state.value} {self.text} bytes of text>"

    def take(self, payload: bytes) -> bytes:
        """Body bytes of the provider to body bytes for the caller. Raises Fault.

        Where it raises, `unsent` holds what the caller should still get before the error. Once the
        extension has been placed nothing is a fault any more: the caller has a whole answer and its
        cost, and `cut_short` says that something wrong came behind it.
        """
        try:
            events = self._reader.feed(payload)
            if len(events) == 1:
                return self._event(events[0])  # the common case: one event, one write
            return self._events(events)
        except ProtocolError as error:
            return self._broken(Fault(FaultKind.TOO_LARGE, error.message))
        except Fault as fault:
            return self._broken(fault)

    def _broken(self, fault: Fault) -> bytes:
        """What a fault means: the end of this answer, good behind its finish reasons only."""
        if not self._placed:
            raise fault
        self.cut_short = True
        out, self.unsent = self.unsent, b""
        return out + self.finish()

    @property
    def goes_on(self) -> bool:
        """Whether this answer is only a round: it has ended, and another one follows."""
        return self.calls is not None and self.calls.goes_on

    @property
    def passes(self) -> bool:
        """Whether the text goes to the caller as it comes, and none of it is held or remembered."""
        touched = self._part is not None or self.calls is not None or self.edited is not None
        return self.adopted and self.state is FlowState.OPEN and not touched

    @property
    def waits(self) -> bool:
        """Whether only the adoption is missing: what comes next would place the extension."""
        return not self.adopted and (bool(self._stash) or self.state is FlowState.FINISHED)

    def adopt(self) -> bytes:
        """This answer is the one that the caller gets: go on with what had to wait. Raises Fault.

        The extension is asked for only from here on, so that an attempt that another one overtakes
        in the same instant has not settled anything.
        """
        self.adopted = True
        if self._transcript is not None and self._part is not None:
            self._transcript.adopt(self._part)
        events, self._stash = self._stash, []
        try:
            return self._events(events)
        except Fault as fault:
            return self._broken(fault)

    def end(self) -> bytes:
        """The provider's body has ended: what is still due to the caller. Raises Fault.

        An end after every finish reason is a good one, with or without `[DONE]`.
        """
        out = self._events(self._reader.eof())
        if self.state is FlowState.DONE:
            return out
        if self.state is FlowState.OPEN:
            self.unsent = out
            raise Fault(FaultKind.CLOSED_EARLY, "the stream ended without a finish reason")
        return out + self.finish()

    def finish(self) -> bytes:
        """Behind the finish reasons: nothing more is read, and this is still due to the caller."""
        self.state = FlowState.DONE
        return b"" if self.goes_on else self._release() + DONE

    def _events(self, events: list[Event]) -> bytes:
        parts: list[bytes] = []
        try:
            for place, event in enumerate(events):
                if not self.adopted and self.committed and self._would_end(event):
                    self._stash = events[place:]
                    break
                parts.append(self._event(event))
        except (Fault, Rejected):
            self.unsent = b"".join(parts)
            raise
        return b"".join(parts)

    def _would_end(self, event: Event) -> bool:
        """Whether this event may make a held chunk the last one."""
        return self.state is FlowState.FINISHED or (event.data or b"").startswith(b"[DONE]")

    def _event(self, event: Event) -> bytes:
        data = event.data
        if self.state is FlowState.DONE:
            return b""
        if not event.raw.isascii():
            _check_utf8(event.raw)  # an event's other lines as well: clients decode them all
        if not data:
            alive = data is None and self.committed and self._held is None
            return event.raw if alive else b""
        if data.startswith(b"[DONE]"):
            return self._done()
        if event.name == b"error":
            raise Fault(FaultKind.ERROR_EVENT, "an error inside the stream")
        facts = self._dialect.read_chunk(data)
        if facts.usage is not None:
            self.usage = facts.usage
        self.text += facts.text
        if self._part is not None:
            event = self._part.take(event)
        if self.calls is not None:
            event = self.calls.take(event)
        if self.edited is not None and event.raw:
            event = self.edited.take(event)
        if self._held is None and self.committed and facts.plain:
            return event.raw
        return self._chunk(event, facts)

    def _chunk(self, event: Event, facts: ChunkFacts) -> bytes:
        """A chunk before the commit point, near the end, or that must change."""
        if facts.finished:
            self._finish(facts)
        if len(self._finished) >= self._choices:
            self.state = FlowState.FINISHED
        if self.goes_on:
            return event.raw if self.committed else self._gather(event.raw, facts)
        held, finished = self._held, self.state is FlowState.FINISHED
        told = facts.empty and facts.usage is not None and finished
        if facts.empty and not self._wants_usage:
            return self._release() if told else b""
        if facts.tagged:
            event = _with_data(event, untag(event.data or b""))
        self._held = None
        out = b"" if held is None else held.raw
        if self._placed:
            out += event.raw
        elif told:
            out += self._place(event)
        elif finished or facts.finished or (facts.empty and held is not None):
            self._held = event
        else:
            out += event.raw
        return out if self.committed else self._gather(out, facts)

    def _finish(self, facts: ChunkFacts) -> None:
        """Choices have ended. Of why, only what a choice says first is remembered, and in bounds: a
        provider may say it in every chunk, and at length."""
        for index, reason in zip(facts.finished, facts.reasons, strict=False):
            if index not in self._finished and len(self.reasons) < MOST_REASONS:
                self.reasons += (reason[:LONGEST_REASON],)
        self._finished.update(facts.finished)
        self.model = None if facts.model is None else facts.model[:LONGEST_REASON]

    def _gather(self, out: bytes, facts: ChunkFacts) -> bytes:
        """Nothing leaves before the commit point: a token, or a finish reason without one."""
        self._gathered += out
        if facts.token or facts.finished:
            self.committed = True
            out = bytes(self._gathered)
            self._gathered.clear()
            return out
        if len(self._gathered) > MAX_BEFORE_TOKEN:
            raise Fault(FaultKind.TOO_LARGE, "too much before the first token")
        return b""

    def _done(self) -> bytes:
        if self._held is None and self.state is FlowState.OPEN:
            raise Fault(FaultKind.NO_CONTENT, "the stream ended without a finish reason")
        rest = b"" if self.edited is None or self.goes_on else self.edited.rest()
        return rest + self.finish()

    def _release(self) -> bytes:
        """The held chunk, which is the last one."""
        held, self._held = self._held, None
        return b"" if held is None else self._place(held)

    def _place(self, event: Event) -> bytes:
        """`event` with our extension. The provider has no more to say but `[DONE]`."""
        self._placed = True
        return _with_data(event, splice(event.data or b"", self._extension(self))).raw


def _check_utf8(raw: bytes) -> None:
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        raise Fault(FaultKind.BAD_BODY, "an event that is not UTF-8") from error


def _with_data(event: Event, data: bytes) -> Event:
    """`event` with other data; what else stands in it stays, unless its data were several lines."""
    assert event.data is not None
    before, found, after = event.raw.partition(event.data)
    if not found:
        data = data.replace(b"\n", b" ")  # white space: JSON's strings hold no line ends
        return Event(b"data: %b\n\n" % data, data, event.name)
    return Event(before + data + after, data, event.name)


def splice(chunk: bytes, extension: bytes) -> bytes:
    """`chunk`, which is a JSON object, with `x_kairosroute` as its last member."""
    at = chunk.rindex(b"}")
    before = chunk[:at].rstrip()
    comma = b"" if before.endswith(b"{") else b","
    return b'%b%b"x_kairosroute":%b%b' % (before, comma, extension, chunk[at:])


def untag(chunk: bytes) -> bytes:
    """`chunk` without an `x_kairosroute` of its own, so that ours does not stand twice."""
    members = msgspec.json.decode(chunk, type=dict[str, msgspec.Raw])
    members.pop("x_kairosroute", None)
    return msgspec.json.encode(members)

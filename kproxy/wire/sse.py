"""Server-sent events (WHATWG HTML, section 9.2): a body's payload in, events out.

Problem: a stream is forwarded as it came, yet its meaning is needed: which bytes are one event,
and what are its data. The bytes arrive cut anywhere, lines may end with LF, CRLF or CR, and a
provider that never ends a line must not fill the memory.

Our way: `raw` is what to forward and `data` what to look at. Every byte fed is in exactly one
`raw`, or `pending`. A payload that consists of whole events with LF, which is what model
providers send, is cut up by `find` alone; only what is left over is kept, and read line by line.

Two details. An empty line ends an event; the empty lines behind it are events of their own,
without data, so that nothing waits for what comes next. And a CR at the end of a payload may be
half of a CRLF: the line ends only when the next byte is known, or at `eof`. Otherwise the LF
would open the next event, and the cut would show.

It does not decode text, and knows neither JSON nor `[DONE]`; `id` and `retry` serve reconnecting
clients and are left in `raw`.
"""

from typing import NamedTuple

from kproxy.wire.events import ProtocolError

__all__ = ["Event", "EventReader"]

_BOM = b"\xef\xbb\xbf"
_MIB = 1024 * 1024


class Event(NamedTuple):
    """One event. `data` is None where no data field stands in it, as in a comment."""

    raw: bytes
    """The event as it came, up to and including the empty line that ends it."""
    data: bytes | None
    """The data lines, joined by LF."""
    name: bytes = b""
    """The event field."""


_EMPTY = {end: Event(end, None) for end in (b"\n", b"\r", b"\r\n")}
"""An empty line alone. A provider may send 64 KiB of them; each should cost little."""


class EventReader:
    """The events of one stream. Limits are in bytes: of a line without its end, of a whole `raw`.

    Providers send events of 300 bytes; an image or a long tool call makes lines of some 100 KiB.
    """

    __slots__ = (
        "_data", "_easy", "_fresh", "_held", "_line", "_max_event", "_max_line", "_name",
        "_searched",
    )  # fmt: skip

    def __init__(self, max_line: int = _MIB, max_event: int = 4 * _MIB) -> None:
        self._max_line = max_line
        self._max_event = max_event
        self._easy = min(max_line, max_event)  # a payload up to this size breaks no limit
        self._held = bytearray()  # the event that has begun
        self._line = 0  # where its present line begins
        self._searched = 0  # that line does not end before this index
        self._data: list[bytes] = []
        self._name = b""
        self._fresh = True  # no line has been read: a byte order mark may come

    def __repr__(self) -> str:
        return f"<EventReader {len(self._held)} pending>"

    @property
    def pending(self) -> bytes:
        """The bytes of the event that has begun and not ended."""
        return bytes(self._held)

    def feed(self, payload: bytes) -> list[Event]:
        """The events that end in `payload`.

        Raises ProtocolError(502) past a limit; events before it in the same payload are lost.
        """
        if self._held or self._fresh or b"\r" in payload or len(payload) > self._easy:
            self._held += payload
            return self._read_lines(final=False)
        events: list[Event] = []
        at, size = 0, len(payload)
        while at < size:
            stop = payload.find(b"\n", at)
            if stop < 0:
                break
            if stop == at:
                events.append(_EMPTY[b"\n"])
                at += 1
                continue
            if not payload.startswith(b"\n", stop + 1):  # several lines
                stop = payload.find(b"\n\n", at)
                if stop < 0:
                    break
                events.append(self._read_block(payload[at : stop + 2]))
            elif payload.startswith(b"data: ", at):
                events.append(Event(payload[at : stop + 2], payload[at + 6 : stop]))
            else:
                events.append(self._read_block(payload[at : stop + 2]))
            at = stop + 2
        if at < size:
            self._held += payload[at:]
            self._read_lines(final=False)
        return events

    def eof(self) -> list[Event]:
        """The event that ended with the stream's last CR, if one did. The rest stays pending."""
        return self._read_lines(final=True)

    def _read_block(self, raw: bytes) -> Event:
        """An event with LF alone, all in one piece."""
        lines = raw[:-2].split(b"\n")
        if len(lines) == 2 and lines[0].startswith(b"event: ") and lines[1].startswith(b"data: "):
            return Event(raw, lines[1][6:], lines[0][7:])
        for line in lines:
            self._read_field(line)
        return self._finish(raw)

    def _read_lines(self, *, final: bool) -> list[Event]:
        """Take every line that has ended, from where the last search stopped."""
        held, line = self._held, self._line
        events: list[Event] = []
        start, size = 0, len(held)
        large = size > self._easy
        at, lf, cr = self._searched, -1, -1
        while True:
            # Each position is searched for once: what was found further on stays found.
            if lf < at:
                lf = held.find(b"\n", at)
                lf = size if lf < 0 else lf
            if cr < at:
                cr = held.find(b"\r", at)
                cr = size if cr < 0 else cr
            end = lf if lf < cr else cr
            if end == size or (end == cr == size - 1 and not final):
                break
            at = end + 2 if end == cr == lf - 1 and lf < size else end + 1
            if large:
                self._check(end - line, at - start)
            text = bytes(held[line:end]) if line < end else b""
            if self._fresh:
                self._fresh = False
                text = text.removeprefix(_BOM)
            if text:
                self._read_field(text)
            else:
                raw = bytes(held[start:at])
                events.append(_EMPTY.get(raw) or self._finish(raw))
                start = at
            line = at
        if large:
            self._check(end - line, size - start)
        self._line = line - start
        self._searched = end - start
        del held[:start]
        return events

    def _check(self, line: int, event: int) -> None:
        if line > self._max_line:
            raise ProtocolError(502, f"A line of the event stream is over {self._max_line} bytes.")
        if event > self._max_event:
            raise ProtocolError(502, f"An event of the stream is over {self._max_event} bytes.")

    def _read_field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value[1:] if value[:1] == b" " else value)
        elif name == b"event":
            self._name = value[1:] if value[:1] == b" " else value

    def _finish(self, raw: bytes) -> Event:
        data = b"\n".join(self._data) if self._data else None
        event = Event(raw, data, self._name)
        self._data.clear()
        self._name = b""
        return event

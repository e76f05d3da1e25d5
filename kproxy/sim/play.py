"""A script, its wire and the faults in; a `Play` out: which bytes, when, and how it ends.

Pure: time is an offset from the request's arrival, bytes are as they go on the socket, and nothing
is sent here (`player.py` does that).

An answer without a fault takes the short way: whole JSON is one piece of bytes, a stream one
generator that frames each event as one chunk (RFC 9112 section 7.1). With a fault, the answer is a
`Show` first: its parts, still named and unframed. Each fault is one function that edits the show
(`edits.py`), in the order in which they are written; then the show is framed.
"""

from collections.abc import Iterator, Sequence
from itertools import chain

from kproxy.errors import Rejected
from kproxy.sim.asked import Asked
from kproxy.sim.edits import EDITS
from kproxy.sim.faults import Fault
from kproxy.sim.script import Script, find
from kproxy.sim.show import (
    EVENTS,
    JSON,
    Beat,
    Ending,
    Framing,
    Part,
    Parts,
    Play,
    Rendered,
    Show,
    Wire,
    chunk,
    framed,
    head,
    ident_line,
)

__all__ = ["perform", "refuse", "whole"]


def whole(asked: Asked, script: Script, wire: Wire) -> bytes:
    """A JSON answer without a fault, head and body."""
    body = wire.reply(script, asked, True)
    lines = b"content-length: %d\r\n" % len(body) + ident_line(wire, script.ident)
    return head(200, JSON, lines) + body


def refuse(wire: Wire, error: Rejected, ident: str) -> bytes:
    """A whole error answer."""
    body = wire.problem(error, ident)
    fields = b"".join([b"%b: %b\r\n" % line for line in error.headers])
    if error.close:
        fields += b"connection: close\r\n"
    lines = fields + b"content-length: %d\r\n" % len(body) + ident_line(wire, ident)
    return head(error.status, JSON, lines) + body


def perform(
    asked: Asked, script: Script, faults: Sequence[Fault], wire: Wire, http_10: bool = False
) -> Play:
    """The answer. For HTTP/1.0 there are no chunks: the connection ends the body."""
    if not faults and not http_10:
        if asked.stream:
            return Play(_stream(wire.render(script, asked, True), script, wire), Ending.KEEP)
        return Play(iter([(script.end, whole(asked, script, wire))]), Ending.KEEP)
    show = _staged(asked, script, wire, find(faults, "no-usage") is None)
    if http_10:
        show.ending = Ending.CLOSE
        if asked.stream:
            show.framing = Framing.OPEN
    for fault in faults:
        edit = EDITS.get(fault.name)
        if edit is not None:
            edit(show, fault)
    return Play(framed(show), show.ending)


def _stream(rendered: Rendered, script: Script, wire: Wire) -> Iterator[Beat]:
    """A stream without a fault. The head and the preamble come at once, as providers do it."""
    lines = b"transfer-encoding: chunked\r\n" + ident_line(wire, script.ident)
    yield 0.0, head(200, EVENTS, lines) + chunk(rendered.preamble)
    for at, token in zip(script.times, rendered.tokens, strict=True):
        yield at, b"%x\r\n%b\r\n" % (len(token), token)
    end = (chunk(rendered.finish), chunk(rendered.usage), chunk(rendered.done), b"0\r\n\r\n")
    yield script.end, b"".join(end)


def _staged(asked: Asked, script: Script, wire: Wire, usage: bool) -> Show:
    """The answer in its parts."""
    end = script.end
    if not asked.stream:
        body: Parts = iter([(end, Part.WHOLE, wire.reply(script, asked, usage))])
        return Show(asked, script, wire, None, body, Framing.LENGTH, JSON, head_at=end)
    rendered = wire.render(script, asked, usage)
    parts: Parts = chain(
        [(0.0, Part.PREAMBLE, rendered.preamble)],
        ((at, Part.TOKEN, token) for at, token in zip(script.times, rendered.tokens, strict=True)),
        [
            (end, Part.FINISH, rendered.finish),
            (end, Part.USAGE, rendered.usage),
            (end, Part.DONE, rendered.done),
        ],
    )
    return Show(asked, script, wire, rendered, parts, Framing.CHUNKED, EVENTS, head_at=0.0)

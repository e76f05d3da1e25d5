"""Events of OpenAI's wire by one word each, and what a `Flow` makes of them, as one value.

In: names and fields. Out: event bytes; the caller's bytes, the state and the fault of one reading.
"""

import json
from typing import Any, NamedTuple

from kproxy.dialect.flow import Flow, FlowState, Wanted
from kproxy.dialect.openai import OpenAI
from kproxy.errors import Fault, FaultKind
from kproxy.schema.reply import ReplyUsage
from kproxy.wire.sse import EventReader

DONE = b"data: [DONE]\n\n"
TAG = b'{"provider":"Acme"}'
SPLICE = b',"x_kairosroute":' + TAG
USED = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


def event(data: Any) -> bytes:
    """One event with this JSON."""
    return b"data: %b\n\n" % json.dumps(data, separators=(",", ":")).encode()


def chunk(
    delta: dict[str, Any] | None = None, finish: str | None = None, index: int = 0, **more: Any
) -> bytes:
    """A chunk with one choice."""
    choice = {"index": index, "delta": delta or {}, "finish_reason": finish}
    return event({"object": "chat.completion.chunk", "choices": [choice], **more})


def empty(**more: Any) -> bytes:
    """A chunk without choices."""
    return event({"object": "chat.completion.chunk", "choices": [], **more})


def tagged(data: bytes) -> bytes:
    """What our splice makes of an event."""
    at = data.rindex(b"}")
    return data[:at] + SPLICE + data[at:]


ROLE = chunk({"role": "assistant", "content": ""})
ONE, TWO = chunk({"content": "One"}), chunk({"content": " two"})
STOP = chunk(finish="stop")
USAGE = empty(usage=USED)


class Read(NamedTuple):
    """What came out, `unsent` included, and how it stood at the end."""

    out: bytes
    state: FlowState
    usage: ReplyUsage | None
    text: int
    fault: FaultKind | None
    placed: int  # how often the extension was asked for


class Reading:
    """A `Flow` and the usage that its extension was made of."""

    def __init__(self, choices: int = 1, *, wants: bool = False, limit: int = 4096) -> None:
        self.seen: list[ReplyUsage | None] = []
        reader = EventReader(limit, 2 * limit)
        self.flow = Flow(OpenAI(), reader, Wanted(choices, wants), self._extension)
        self.flow.adopt()

    def _extension(self, flow: Flow) -> bytes:
        self.seen.append(flow.usage)
        return TAG

    def read(self, pieces: list[bytes]) -> Read:
        """All pieces, then the end."""
        out, fault, flow = b"", None, self.flow
        try:
            for piece in pieces:
                out += flow.take(piece)
            out += flow.end()
        except Fault as raised:
            out += flow.unsent
            fault = raised.kind
        return Read(out, flow.state, flow.usage, flow.text, fault, len(self.seen))


def read(*events: bytes, choices: int = 1, wants: bool = False) -> Read:
    """One reading of these events, one payload each."""
    return Reading(choices, wants=wants).read(list(events))

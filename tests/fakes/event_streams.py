"""Event streams as providers send them, and as none should: strategies of bytes.

`good` ends well, `any_streams` in any way; both are lists of events, so that a test can frame and
cut them as it likes.
"""

import json
from typing import Any

from hypothesis import strategies as st

from tests.fakes.stream import DONE, ROLE, STOP, TWO, USAGE, USED, chunk, empty, event

__all__ = ["BAD", "any_streams", "good", "meaning"]

SIGN = b": alive\n\n"
FILTER = empty(prompt_filter_results=[{"prompt_index": 0}])
CALL = {"index": 0, "id": "call_1", "function": {"name": "theirs", "arguments": "{}"}}
ODD = [
    b'event: message\ndata: {"choices":[{"index":0,"delta":{"content":"e"}}]}\n\n',
    b'id: 7\ndata:{"choices":[{"delta":{"content":"i"}}],"x":1.50}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"content":"r"}}]}\r\n\r\n',
    b'data: {"choices":[{"index":0,\ndata: "delta":{"content":"m"}}]}\n\n',
    b'data: { "choices" : [ { "index" : 0 , "delta" : { "content" : "w" } } ] }\n\n',
    'data: {"choices":[{"index":0,"delta":{"content":"\\u00f6 ö \\ud83d\\ude00"}}]}\n\n'.encode(),
    b"retry: 5\n\n", b"data:\n\n", b"\n",
]  # fmt: skip


def words(text: str) -> bytes:
    """A chunk that says it."""
    return chunk({"content": text}, id="c-1", created=7)


INSIDES = [
    b"\xff", b"\\ud800", b"\\q", b'"', b"\\", b"\x01", b"\n", b"\\u12", b'"},"x":{"y":"', b"\xc3",
    b"\\u00e4",
    b'","role":"', b"\xe2\x98\x83", b"\t", b"\\/", b"\x7f", b"\\udc00\\ud800",
]  # fmt: skip
"""What may stand in a JSON string, and what must not."""

BROKEN = [words("Z").replace(b"Z", inside) for inside in INSIDES]

BAD = [
    event({"error": {"message": "overloaded"}}), b"event: error\ndata: 1\n\n", b"data: {}}\n\n",
    b'data: {"choices":[{"delta":\n\n', b"data: \xff\n\n", b'data: [1]\n\n', DONE,
    b'data: {"choices":[{"index":0,"delta":{"content":5}}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"content":"\\ud800"}}]}\n\n', *BROKEN,
]  # fmt: skip


texts = st.one_of(
    st.sampled_from(["a", " b", "", "\n\n", '"', "\\", "ö😀", "x" * 300]), st.text(max_size=5)
)
pieces = st.one_of(
    texts.map(words),
    st.sampled_from(
        [
            ROLE, TWO, SIGN, FILTER, chunk({"reasoning_content": "Hm"}),
            chunk({"tool_calls": [CALL]}), chunk({"content": None, "refusal": "no"}),
            chunk({"content": "p"}, logprobs=None), *ODD,
        ]
    ),
)  # fmt: skip
finishes = st.sampled_from(
    [
        STOP,
        chunk(finish="stop", usage=USED),
        chunk({"content": "!"}, "length"),
        chunk({}, "tool_calls"),
    ]
)


@st.composite
def good(draw: st.DrawFn) -> list[bytes]:
    """A stream with one choice that ends well."""
    usage = draw(st.sampled_from([[], [USAGE], [USAGE, SIGN]]))
    end = draw(st.sampled_from([[], [DONE], [DONE]]))
    said = draw(st.lists(pieces, min_size=1, max_size=8))
    return [ROLE, *said, draw(finishes), *usage, *end]


@st.composite
def any_streams(draw: st.DrawFn) -> list[bytes]:
    """A stream that may be wrong in a place, or be cut there."""
    events = draw(good())
    for at, odd in draw(st.lists(st.tuples(st.integers(0, 12), st.sampled_from(BAD)), max_size=1)):
        events.insert(at, odd)
    return events[: draw(st.integers(1, 2 * len(events)))]


def meaning(data: list[str]) -> list[Any]:
    """Events by their JSON, without the names that no two answers share."""
    found: list[Any] = []
    for one in data:
        decoded: Any = one if one == "[DONE]" else json.loads(one)
        if isinstance(decoded, dict):
            decoded.get("x_kairosroute", {}).pop("receipt_id", None)
        found.append(decoded)
    return found

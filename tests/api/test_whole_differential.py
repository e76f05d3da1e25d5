"""One whole answer by every way through kproxy, and one request by every way to a provider.

An answer's bytes are the provider's, with ours put in as the last member; a request's members are
the caller's, whatever carried them. That must not depend on how either was framed and cut, by which
version of HTTP it came, or on rules that find nothing.
"""

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from kproxy.dialect.flow import splice
from tests.fakes.cuts import positions
from tests.fakes.event_streams import meaning
from tests.fakes.ways import SOME, WAYS, Passed, passing

NUMBERS = st.one_of(st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=6)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
UNKNOWN = st.dictionaries(
    st.sampled_from(["x_new", "\u00e4", "service_tier", "a b"]), VALUES, max_size=2
)
LAYOUTS = st.sampled_from(
    [
        {"separators": (",", ":")},
        {"indent": 2},
        {"separators": (" , ", " : ")},
        {"ensure_ascii": False},
    ]
)
MESSAGES = [{"role": "user", "content": "Hello!"}]


def written(value: Any, layout: dict[str, Any]) -> bytes:
    return json.dumps(value, **layout).encode()


@st.composite
def replies(draw: st.DrawFn) -> bytes:
    """A completion as some provider writes it."""
    message = {"role": "assistant", "content": draw(st.text(min_size=1, max_size=20))}
    choice = {"index": 0, "message": {**message, **draw(UNKNOWN)}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    reply = {"id": "c", "model": "m", "choices": [choice], "usage": usage, **draw(UNKNOWN)}
    return written(reply, draw(LAYOUTS)) + draw(st.sampled_from([b"", b"\n", b" \r\n"]))


def spliced(passed: Passed, reply: bytes) -> Any:
    """The extension of an answer that is otherwise the reply's own bytes."""
    assert (passed.answer.status, passed.answer.whole) == (200, True)
    body = passed.answer.body
    end = b'"x_kairosroute":'
    assert body.count(end) == 1
    extension, _ = json.JSONDecoder().raw_decode(body.partition(end)[2].decode())
    raw = body[body.index(end) + len(end) :].decode()
    _, size = json.JSONDecoder().raw_decode(raw)
    assert body == splice(reply, raw[:size].encode())
    return meaning([json.dumps({"x_kairosroute": extension})])


@SOME
@given(replies(), positions)
@example(b'{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}', [1])
def test_every_way_gives_the_same_answer(reply: bytes, at: list[int]) -> None:
    found = {
        name: spliced(
            passing(
                way,
                written({"model": "auto", "messages": MESSAGES, **way.members}, {}),
                [reply],
                at,
            ),
            reply,
        )
        for name, way in WAYS.items()
    }
    assert all(one == found["plain"] for one in found.values())


REPLY = b'{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}'


@SOME
@given(UNKNOWN, st.lists(st.text(max_size=12), min_size=1, max_size=3), LAYOUTS, positions)
def test_every_way_asks_the_same(
    unknown: dict[str, Any], texts: list[str], layout: dict[str, Any], at: list[int]
) -> None:
    messages = [{"role": "user", "content": text} for text in texts]
    asked = {**unknown, "model": "auto", "messages": messages, "seed": 7}
    sent = {
        name: passing(way, written({**asked, **way.members}, layout), [REPLY], at).asked
        for name, way in WAYS.items()
    }
    assert json.loads(sent["plain"]) == {**asked, "model": "m"}
    assert set(sent.values()) == {sent["plain"]}

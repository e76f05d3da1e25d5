"""A provider that answers anything at all: every cut, any bytes, every odd thing that is legal.

One promise: the caller gets the whole answer, or an error in OpenAI's shape, or a stream that is
plainly broken. Never a stream that looks complete and is not, never a 500, never a trace.
"""

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.caller import Answer, Caller
from tests.fakes.raw_provider import (
    LAST_CHUNK,
    RESET,
    Provider,
    chunked,
    framed,
    providing,
    sse,
    with_length,
)
from tests.fakes.server import Served, provider_config, serving, until

pytestmark = pytest.mark.loopback

MODEL = "acme/m"
SETTINGS = (
    "[timeouts]\nfirst_token = 5\ngap = 5\n"
    "[attempts]\nretries = 0\nbreaker_failures = 10_000\ncredential_rest = 0.001\n"
    "breaker_rest = 0.001\nbreaker_longest_rest = 0.001\n"
)


def chunk(**fields: Any) -> str:
    usual = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return json.dumps({**usual, **fields}, separators=(",", ":"))


def delta(text: str | None = None, finish: str | None = None, **fields: Any) -> str:
    said = {} if text is None else {"content": text}
    return chunk(choices=[{"index": 0, "delta": {**said, **fields}, "finish_reason": finish}])


USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
FIRST, SECOND, FINISH = delta("Oh, ", role="assistant"), delta("ölbäume"), delta(finish="stop")
LAST = chunk(choices=[], usage=USAGE)
EVENTS = sse(FIRST, SECOND, FINISH, LAST, "[DONE]")
TEXT = "Oh, ölbäume"
STREAM = chunked(EVENTS)
REPLY = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": TEXT},
            "finish_reason": "stop",
        }
    ],
    "usage": USAGE,
}
WHOLE = with_length(json.dumps(REPLY, ensure_ascii=False).encode())


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with providing() as provider:
        yield provider


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Served]:
    config = provider_config(acme=provider.base_url) + SETTINGS
    with serving(tmp_path_factory.mktemp("serve"), config) as server:
        yield server


@pytest.fixture(scope="module")
def caller(server: Served) -> Iterator["Kept"]:
    kept = Kept(server)
    yield kept
    kept.close()


@pytest.fixture(autouse=True)
def _in_step(provider: Provider) -> None:
    """What a failed test has left is not the next one's answer."""
    provider.forget()


class Kept:
    """A caller that connects again only where the server has ended the connection."""

    def __init__(self, server: Served) -> None:
        self._server = server
        self._caller: Caller | None = None

    def ask(self, **fields: Any) -> Answer:
        if self._caller is None:
            self._caller = self._server.caller()
        try:
            answer = self._caller.ask(model=MODEL, **fields)
        except BaseException:
            self.close()
            raise
        if not answer.whole:
            assert self._caller.closed()
            self.close()
        return answer

    def close(self) -> None:
        if self._caller is not None:
            self._caller.close()
            self._caller = None


def sound(answer: Answer, *, stream: bool) -> None:
    """What holds whatever the provider says."""
    if answer.status != 200:
        assert answer.status in (400, 413, 422, 503)
        assert answer.whole
        assert answer.error["message"]
    elif not stream:
        assert answer.whole
        assert all(choice["finish_reason"] for choice in answer.json()["choices"])
        assert answer.json()["x_kairosroute"]["attempts"] == 1
    elif answer.whole:
        assert answer.data[-1] == "[DONE]"
        assert answer.data.count("[DONE]") == 1
        assert any(
            c.get("finish_reason") for one in answer.chunks for c in one.get("choices") or ()
        )
        assert sum("x_kairosroute" in one for one in answer.chunks) == 1
    else:
        assert "[DONE]" not in answer.data
        assert set(answer.chunks[-1]) == {"error"}


# --- cut at every byte


@pytest.mark.parametrize("usage", [False, True])
def test_a_stream_cut_at_every_byte(provider: Provider, caller: Kept, usage: bool) -> None:
    options = {"stream_options": {"include_usage": usage}}
    finished = STREAM.index(FINISH.encode()) + len(FINISH.encode()) + 2
    for end in range(len(STREAM)):
        provider.will_say(STREAM[:end])
        answer = caller.ask(stream=True, **options)
        sound(answer, stream=True)
        complete = answer.status == 200 and answer.whole
        assert complete == (end >= finished), end
        if complete:
            assert answer.text == TEXT


def test_an_answer_cut_at_every_byte(provider: Provider, caller: Kept) -> None:
    for end in range(len(WHOLE)):
        provider.will_say(WHOLE[:end])
        answer = caller.ask()
        sound(answer, stream=False)
        assert answer.status == 503, end


def test_an_answer_without_a_length_cut_at_every_byte(provider: Provider, caller: Kept) -> None:
    """It ends with its connection, so only the JSON says whether it is whole."""
    body = json.dumps(REPLY).encode()
    for end in range(len(body)):
        provider.will_say(b"HTTP/1.1 200 OK\r\n\r\n" + body[:end])
        assert caller.ask().status == 503, end
    provider.will_say(b"HTTP/1.1 200 OK\r\n\r\n" + body)
    assert caller.ask().text == TEXT


# --- anything


@st.composite
def mutated(draw: st.DrawFn, good: bytes) -> bytes:
    """A good answer with some bytes taken out, put in, or said twice."""
    data = good
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 40)))
        new = draw(st.one_of(st.binary(max_size=8), st.just(data[start:end] * 2)))
        data = data[:start] + new + data[end:]
    return data


@given(data=st.one_of(st.binary(max_size=400), mutated(STREAM), mutated(WHOLE)))
def test_any_bytes_for_a_stream(provider: Provider, caller: Kept, data: bytes) -> None:
    provider.will_say(data)
    sound(caller.ask(stream=True), stream=True)


@given(data=st.one_of(st.binary(max_size=400), mutated(STREAM), mutated(WHOLE)))
def test_any_bytes_for_an_answer(provider: Provider, caller: Kept, data: bytes) -> None:
    provider.will_say(data)
    sound(caller.ask(), stream=False)


@given(pieces=st.lists(st.one_of(st.binary(max_size=60), st.sampled_from(EVENTS)), max_size=8))
def test_any_events(provider: Provider, caller: Kept, pieces: list[bytes]) -> None:
    provider.will_say(chunked([piece for piece in pieces if piece]))
    sound(caller.ask(stream=True), stream=True)


JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["choices", "index", "delta", "message", "content", "finish_reason", "usage",
                 "prompt_tokens", "completion_tokens", "error", "x_kairosroute", "model"]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)  # fmt: skip


@given(value=JSON_VALUES, stream=st.booleans())
def test_any_json(provider: Provider, caller: Kept, value: object, stream: bool) -> None:
    text = json.dumps(value)
    provider.will_say(chunked(sse(text, FINISH)) if stream else with_length(text.encode()))
    sound(caller.ask(stream=stream), stream=stream)


@given(status=st.integers(100, 999), body=st.one_of(st.binary(max_size=200), JSON_VALUES))
def test_any_status(provider: Provider, caller: Kept, status: int, body: object) -> None:
    data = body if isinstance(body, bytes) else json.dumps({"error": body}).encode()
    provider.will_say(with_length(data, status=f"{status} Status"))
    sound(caller.ask(), stream=False)


# --- after the first token: the provider waits until the caller has it


AFTER: dict[str, tuple[object, ...]] = {
    "nothing": (),
    "an end without framing": (),
    "a reset": (RESET,),
    "the end": (LAST_CHUNK,),
    "half an event": (framed(b'data: {"'),),
    "no JSON": (framed(b"data: {\n\n"),),
    "not UTF-8": (framed(b"data: \xff\n\n"),),
    "too deep": (framed(b"data: " + b"[" * 100_000 + b"\n\n"),),
    "an error": (framed(b'data: {"error":{"code":500}}\n\n'),),
    "an error by name": (framed(b'event: error\ndata: {"a":1}\n\n'),),
    "done without a finish": (framed(b"data: [DONE]\n\n"), LAST_CHUNK),
    "a line without end": (framed(b"data: " + b"a" * 2_000_000),),
    "a size that is none": (b"zz\r\n",),
}


@pytest.mark.parametrize("name", AFTER)
def test_what_breaks_a_stream_that_has_begun(provider: Provider, server: Served, name: str) -> None:
    seen, bare = threading.Event(), name == "an end without framing"
    head = b"HTTP/1.1 200 OK\r\n%b\r\n" % (b"" if bare else b"transfer-encoding: chunked\r\n")
    provider.will_say(head + (EVENTS[0] if bare else framed(EVENTS[0])), seen, *AFTER[name])
    with server.caller() as caller:
        begun = caller.begin(model=MODEL, stream=True)
        assert begun.until(b"Oh, ")
        seen.set()
        answer = begun.rest()
        sound(answer, stream=True)
        assert (answer.status, answer.whole, answer.text) == (200, False, "Oh, ")
        assert caller.closed()
    until(server.at_rest)


# --- odd and legal


ODD: dict[str, list[bytes]] = {
    "one chunk": [b"".join(EVENTS)],
    "a byte a chunk": [bytes([byte]) for byte in b"".join(EVENTS)],
    "CRLF": [event.replace(b"\n", b"\r\n") for event in EVENTS],
    "CR": [event.replace(b"\n", b"\r") for event in EVENTS],
    "no space": [event.replace(b"data: ", b"data:") for event in EVENTS],
    "a byte order mark": [b"\xef\xbb\xbf", *EVENTS],
    "comments": [b": hello\n\n", EVENTS[0], b": still here\n\n", *EVENTS[1:]],
    "names and ids": [b"event: message\nid: 7\nretry: 1\n" + event for event in EVENTS],
    "data over lines": [event.replace(b',"choices"', b'\ndata: ,"choices"') for event in EVENTS],
    "a preamble": [*sse(chunk(choices=[], prompt_filter_results=[])), *EVENTS],
    "null choices": [*sse(chunk(choices=None)), *EVENTS],
    "empty deltas": [*sse(delta(role="assistant"), delta("")), *EVENTS],
    "no usage": [*EVENTS[:3], EVENTS[4]],
    "no end mark": EVENTS[:4],
    "an end mark that is cut": [*EVENTS[:4], b"data: [DONE]"],
    "more after the end": [*EVENTS, *sse(delta("no"), "[DONE]")],
    "finish with the text": sse(FIRST, delta("ölbäume", "stop"), LAST, "[DONE]"),
    "usage with the finish": sse(
        FIRST,
        SECOND,
        chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}], usage=USAGE),
        "[DONE]",
    ),
    "usage in every chunk": sse(
        *(one[:-1] + ',"usage":' + json.dumps(USAGE) + "}" for one in (FIRST, SECOND, FINISH)),
        "[DONE]",
    ),
    "absurd usage": sse(
        FIRST, SECOND, FINISH, chunk(choices=[], usage={"prompt_tokens": -1}), "[DONE]"
    ),
    "another kproxy": sse(
        FIRST, SECOND, FINISH, chunk(choices=[], usage=USAGE, x_kairosroute={"a": 1}), "[DONE]"
    ),
}


@pytest.mark.parametrize("usage", [False, True], ids=["plain", "usage"])
@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_and_legal(provider: Provider, caller: Kept, name: str, usage: bool) -> None:
    provider.will_say(chunked(ODD[name]))
    answer = caller.ask(stream=True, stream_options={"include_usage": usage})
    assert answer.status == 200
    assert answer.whole
    assert answer.data[-1] == "[DONE]"
    chunks = answer.chunks
    said = [choice for one in chunks for choice in one.get("choices") or ()]
    assert "".join(choice["delta"].get("content") or "" for choice in said) == TEXT
    assert [choice["finish_reason"] for choice in said if choice["finish_reason"]] == ["stop"]
    assert [one["x_kairosroute"]["attempts"] for one in chunks if "x_kairosroute" in one] == [1]
    if not usage:
        assert all(one["choices"] for one in chunks)


REFUSALS: dict[str, bytes] = {
    "text": b'{"error":"no"}',
    "a number without end": b'{"error":{"message":' + b"9" * 6_000 + b"}}",
    "too deep": b'{"error":{"message":' + b"[" * 50_000 + b"]" * 50_000 + b"}}",
    "a lone surrogate": b'{"error":{"message":"\\ud800","code":"\\udfff"}}',
    "not UTF-8": b'{"error":{"message":"\xff"}}',
    "a list": b"[]",
    "nothing": b"",
    "codes of other types": b'{"error":{"message":null,"code":7,"param":["a"]}}',
    "a page": b"<html><body>Bad request</body></html>",
    "endless": b'{"error":{"message":"' + b"a" * 1_000_000 + b'"}}',
    "control bytes": b'{"error":{"message":"\\u0000\\r\\nset-cookie: a","code":"\\n"}}',
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_in_any_words(provider: Provider, caller: Kept, name: str, stream: bool) -> None:
    provider.will_say(with_length(REFUSALS[name], status="400 Bad Request"))
    answer = caller.ask(stream=stream)
    assert answer.status == 400
    assert answer.error["message"]
    assert len(answer.body) < 3_000


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n" * 50 + WHOLE,
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: a\r\n\r\n" + WHOLE,
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\n\x1f\x8b\x08",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nx: \x00\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
)
def test_what_is_no_answer(provider: Provider, caller: Kept, data: bytes) -> None:
    for stream in (False, True):
        provider.will_say(data)
        answer = caller.ask(stream=stream)
        sound(answer, stream=stream)
        assert answer.status in (200, 503)


def test_neither_key_nor_our_fields_reach_the_provider(
    provider: Provider, server: Served, caller: Kept
) -> None:
    provider.will_say(WHOLE)
    caller.ask(zdr=False, data_collection="allow", x_kairosroute={"explain": True}, seed=7)
    head, _, body = provider.asked.get().partition(b"\r\n\r\n")
    assert server.key.encode() not in head
    assert b"authorization" not in head.lower()
    sent = json.loads(body)
    assert sent["model"] == "m"
    assert set(sent) == {"model", "messages", "seed"}

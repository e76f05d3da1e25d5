"""Rules and a classifier, switched on by one screen of configuration, for the official client.

The provider and the classifier are real servers that say what they are told and keep what they got.
"""

import json
import threading
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.fakes.raw_provider import Provider, chunked, providing, sse, with_length
from tests.fakes.server import Served, provider_config, serving

pytestmark = pytest.mark.loopback

RULES = """
[[guardrails.rules]]
builtin = "email"
action = "mask"

[[guardrails.rules]]
name = "ours"
pattern = '\\b[a-z.]{{1,32}}@acme\\.org\\b'
action = "allow"

[[guardrails.rules]]
builtin = "card"
action = "redact"

[[guardrails.rules]]
builtin = "api-key"
action = "block"

[guardrails.moderation]
url = "{url}/moderations"
model = "strict"
deadline = 5.0
"""
KEY = "sk-ant-api03-" + "aB3-" * 24
CLEAN = with_length(b'{"results":[{"flagged":false,"categories":{"hate":false}}]}')
FLAGGED = with_length(b'{"results":[{"flagged":true,"categories":{"hate":true}}]}')
USED = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}


class Room:
    """A server with rules, and who stands behind it."""

    def __init__(self, server: Served, provider: Provider, classifier: Provider) -> None:
        self.server = server
        self.provider = provider
        self.classifier = classifier
        self.client = openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0)

    def ask(self, text: str, **fields: Any) -> Any:
        """A request to the provider's model, judged clean."""
        self.classifier.will_say(CLEAN)
        return self.client.chat.completions.create(
            model="acme/m", messages=[{"role": "user", "content": text}], **fields
        )


def body_of(request: bytes) -> Any:
    return json.loads(request.partition(b"\r\n\r\n")[2])


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    with providing() as provider, providing() as classifier:
        config = provider_config(acme=provider.base_url) + RULES.format(url=classifier.base_url)
        with serving(tmp_path_factory.mktemp("serve"), config) as server:
            room = Room(server, provider, classifier)
            with room.client:
                yield room


def whole(text: str) -> bytes:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": "stop",
    }
    reply = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
    return with_length(json.dumps({**reply, "choices": [choice], "usage": USED}).encode())


def stream(*pieces: str) -> bytes:
    start = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    deltas = [{"content": piece} for piece in pieces]
    events = [
        {**start, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        for delta in deltas
    ]
    events.append({**start, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    events.append({**start, "choices": [], "usage": USED})
    return chunked([*sse(*map(json.dumps, events)), b"data: [DONE]\n\n"])


ASKED = "I am ann@example.org of sales@acme.org, card 4111 1111 1111 1111."
SENT = "I am <EMAIL_1> of sales@acme.org, card <CARD>."
FIRED = [
    {"rule": "email", "action": "mask", "count": 1},
    {"rule": "card", "action": "redact", "count": 1},
]


def test_the_provider_sees_placeholders_and_the_caller_gets_a_whole_answer(room: Room) -> None:
    room.provider.will_say(whole("Dear <EMAIL_1>"))
    answer = room.ask(ASKED)
    assert answer.choices[0].message.content == "Dear ann@example.org"
    assert answer.x_kairosroute["guardrails"] == FIRED
    assert body_of(room.provider.asked.get())["messages"][0]["content"] == SENT
    assert body_of(room.classifier.asked.get()) == {"input": SENT, "model": "strict"}
    with room.server.caller() as caller:
        receipt = caller.get(f"/v1/receipts/{answer.x_kairosroute['receipt_id']}")
    assert receipt.json()["guardrails"] == FIRED
    assert b"ann@" not in receipt.body


def test_and_a_streamed_one_whose_pieces_cut_both(room: Room) -> None:
    room.provider.will_say(stream("Dear <", "EMAIL", "_1>, 5555 ", "5555 5555", " 4444", " is it."))
    chunks = list(room.ask(ASKED, stream=True))
    said = "".join(choice.delta.content or "" for one in chunks for choice in one.choices)
    assert said == "Dear ann@example.org, <CARD> is it."
    assert chunks[-1].choices[0].finish_reason == "stop"
    counts = {one["rule"]: one["count"] for one in chunks[-1].x_kairosroute["guardrails"]}
    assert counts == {"email": 1, "card": 2}
    assert body_of(room.provider.asked.get())["messages"][0]["content"] == SENT
    room.classifier.asked.get()


def test_a_key_never_leaves(room: Room) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        room.client.chat.completions.create(
            model="acme/m", messages=[{"role": "user", "content": f"my key: {KEY}"}]
        )
    assert caught.value.code == "content_blocked"
    assert caught.value.param == "messages"
    assert KEY not in str(caught.value)
    assert room.provider.asked.empty()
    assert room.classifier.asked.empty()


def test_a_key_in_a_stream_ends_it(room: Room) -> None:
    said, heard = stream("It is ", KEY[:20], KEY[20:], " indeed"), threading.Event()
    at = said.index(b"data: ", said.index(b"It is "))  # where the second event begins
    room.provider.will_say(said[:at], heard, said[at:])
    chunks = iter(room.ask("Hello", stream=True))
    assert next(chunks).choices[0].delta.content == "It is "
    heard.set()
    with pytest.raises(openai.APIError) as caught:
        next(chunks)
    assert caught.value.code == "content_blocked"
    room.provider.asked.get()
    room.classifier.asked.get()


def test_what_the_classifier_flags_is_blocked(room: Room) -> None:
    room.classifier.will_say(FLAGGED)
    with pytest.raises(openai.BadRequestError, match=r"blocked by moderation \(hate\)"):
        room.client.chat.completions.create(
            model="acme/m", messages=[{"role": "user", "content": "bad"}]
        )
    room.classifier.asked.get()
    assert room.provider.asked.empty()


def test_where_it_gives_no_verdict_nothing_passes(room: Room) -> None:
    room.classifier.will_say(with_length(b"{}", status="500 Broken"))
    with pytest.raises(openai.APIStatusError) as caught:
        room.client.chat.completions.create(
            model="acme/m", messages=[{"role": "user", "content": "hello"}]
        )
    assert (caught.value.status_code, caught.value.code) == (503, "moderation_unavailable")
    room.classifier.asked.get()
    assert room.provider.asked.empty()


def test_a_megabyte_comes_back_as_it_should(room: Room) -> None:
    room.provider.will_say(whole("Dear <EMAIL_1>" + " x" * 250_000))
    answer = room.ask("ann@example.org " + "4444 " * 100_000)
    assert answer.choices[0].message.content.startswith("Dear ann@example.org x")
    room.provider.asked.get()
    room.classifier.asked.get()

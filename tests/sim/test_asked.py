"""Reading requests: what the digest covers, what the last message means, what is refused."""

import json

import msgspec
import pytest

from kproxy.errors import Rejected
from kproxy.sim import anthropic, openai
from kproxy.sim.asked import Last, decoded, last_message, prompt_size, user_text
from tests.fakes.simulated import HELLO, ROOT, asked, openai_body


def raws(*messages):
    return [msgspec.Raw(json.dumps(message).encode()) for message in messages]


def say(role, content):
    return {"role": role, "content": content}


def test_the_digest_leaves_out_how_the_answer_is_sent():
    plain = asked().digest
    assert asked(stream=True, stream_options={"include_usage": True}).digest == plain
    assert asked(max_tokens=3).digest == plain
    assert asked(model="gpt-4.1!cut=3").digest == plain
    assert asked(messages=[*HELLO, say("assistant", "I am")]).digest == plain


def test_the_digest_covers_what_the_answer_depends_on():
    others = [
        asked(model="other"),
        asked(messages=[say("user", "x")]),
        asked(tools=[]),
        asked(response_format={"type": "json_object"}),
        openai.read(openai_body(), b"another!"),
        asked(anthropic, system="Be short."),
        asked(anthropic),
    ]
    assert len({asked().digest, *(other.digest for other in others)}) == 1 + len(others)


def test_white_space_around_messages_does_not_count():
    spread = openai_body().replace(b"[{", b"[ {").replace(b"}]", b"} ]")
    assert openai.read(spread, ROOT).digest == asked().digest


@pytest.mark.parametrize(
    ("message", "last"),
    [
        (say("user", "x"), Last(None, False)),
        (say("assistant", "I am"), Last("I am", False)),
        (say("assistant", None), Last("", False)),
        (say("assistant", [{"type": "text", "text": "I"}, {"type": "text", "text": " am"}]),
         Last("I am", False)),
        ({"role": "tool", "content": "3", "tool_call_id": "c"}, Last(None, True)),
        (say("user", [{"type": "tool_result", "tool_use_id": "c", "content": "3"}]),
         Last(None, True)),
        (say("user", [{"type": "image_url", "image_url": {"url": "x"}}]), Last(None, False)),
    ],
)  # fmt: skip
def test_the_last_message(message, last):
    assert last_message(raws(say("user", "first"), message)) == last


@pytest.mark.parametrize(
    ("messages", "param"),
    [([], "messages"), (["x"], "messages[0]"), ([{"content": "x"}], "messages[0]"),
     ([say("user", "x"), say(5, "x")], "messages[1].role")],
)  # fmt: skip
def test_messages_that_are_none(messages, param):
    with pytest.raises(Rejected) as caught:
        last_message(raws(*messages))
    assert (caught.value.status, caught.value.param) == (400, param)


def test_the_last_users_text():
    many = raws(say("user", "one"), say("user", "two"), say("assistant", "three"))
    assert user_text(many) == "two"
    assert user_text(raws(say("assistant", "three"))) == ""


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{", None),
        (b"", None),
        (b'{"x":' + b"[" * 5000, None),
        (b'{"model":"\xff"}', None),
        (b"[" * 5000, "body"),
        (b"[]", "body"),
        (b'{"model":5,"messages":[]}', "model"),
        (b'{"model":"m"}', "body"),
        (b'{"model":"m","messages":[{"role":"user"}],"max_tokens":"3"}', "max_tokens"),
    ],
)
def test_bodies_that_cannot_be_read(body, param):
    with pytest.raises(Rejected) as caught:
        openai.read(body, ROOT)
    assert (caught.value.status, caught.value.param) == (400, param)


def test_decoded_names_a_field_under_its_parameter():
    with pytest.raises(Rejected) as caught:
        decoded(msgspec.json.Decoder(list[int]), b'[1,"x"]', "tools")
    assert caught.value.param == "tools[1]"


def test_prompt_size_grows_with_the_bytes():
    assert prompt_size(raws(say("user", "x" * 400))) == 3 + (400 + 31) // 4
    assert prompt_size(raws("x"), b"tool") == 3 + 7 // 4

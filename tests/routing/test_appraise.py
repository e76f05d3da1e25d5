"""What is read of a request, and what is said of models that nobody has measured."""

import json

import pytest

from kproxy.catalog.load import Model, Price
from kproxy.routing.appraise import Appraiser, said
from kproxy.routing.cues import DEFAULT_CUES
from kproxy.routing.router import load
from kproxy.schema.chat import ChatRequest, decode_chat
from kproxy.schema.jsonlimits import JsonLimits
from tests.fakes.answered import trained

CUES = dict(DEFAULT_CUES)
PRICE = Price.from_usd(1, 2)
STRONG = Model("strong", "acme", "s", PRICE, quality=(0.9,) * 6)
WEAK = Model("weak", "acme", "w", PRICE, quality=(0.6,) * 6)
STRANGER = Model("stranger", "acme", "x", PRICE)


def user(text: object) -> dict[str, object]:
    return {"role": "user", "content": text}


def asked(*messages: dict[str, object]) -> ChatRequest:
    body = {"model": "auto", "messages": messages}
    return decode_chat(json.dumps(body).encode(), JsonLimits()).request


def appraised(*messages: dict[str, object], models: tuple[Model, ...] = (STRONG, WEAK)):
    found = Appraiser(load(trained()), models)(asked(*messages))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([user("one")], "one"),
        ([user("one"), {"role": "assistant", "content": "no"}, user("two")], "two\none"),
        ([user("one"), user("x" * 80)], "x" * 80),
        ([user("one"), user("Explain it")], "Explain it"),
        ([user(str(at)) for at in range(9)], "8\n7\n6\n5"),
        ([user([{"type": "text", "text": "a"}, {"type": "image_url"}])], "a"),
        ([{"role": "system", "content": "uniform"}, user("one")], "one"),
        ([{"role": "tool", "content": "material"}], ""),
    ],
)
def test_the_user_is_read(messages: list[dict[str, object]], expected: str) -> None:
    assert said(asked(*messages).messages, CUES) == expected


def test_a_system_message_counts_where_the_user_gives_no_cue() -> None:
    system = {"role": "system", "content": "Summarize what you are given."}
    assert appraised(system, user("lorem ipsum")).judgement.category == "summarization"
    uniform = {"role": "system", "content": "You are a Python coding assistant."}
    assert appraised(uniform, user("lorem")).judgement.category != "code"
    solve = user("Solve this for me")
    assert appraised(system, solve).judgement.category != "summarization"


def test_hosts_of_one_model_are_judged_alike() -> None:
    other = Model("strong", "beta", "s", Price.from_usd(3, 4), quality=STRONG.quality)
    found = appraised(user("hm"), models=(STRONG, other, WEAK))
    assert found.of("acme/strong") == found.of("beta/strong")
    assert found.of("acme/strong") > found.of("acme/weak")


def test_of_a_stranger_nothing_is_said() -> None:
    found = appraised(user("hm"), models=(STRONG, STRANGER))
    assert found.of("acme/stranger") is None
    assert found.of("acme/other") is None
    assert found.of("acme/strong") is not None


def test_a_measured_model_is_known_by_its_id() -> None:
    measured = Model("large", "acme", "l", PRICE)
    found = appraised(user("sing a rhyme of moon and sea"), models=(measured,))
    assert found.of("acme/large")[0] == pytest.approx(0.9, abs=0.1)


def test_worth_is_among_those_that_are_asked_about() -> None:
    found = appraised(user("Explain it"), models=(STRONG, WEAK))
    both = found.worths(["acme/weak", "acme/strong"], [1, 1], "best")
    assert both[1] > both[0]
    assert found.worths(["acme/weak"], [1], "best") == (0.0,)


def test_no_model_no_appraisal() -> None:
    assert Appraiser(load(trained()), ())(asked(user("hm"))) is None


@pytest.mark.parametrize("text", ["", "\0" * 1_000_000, "é" * 400_000, "\ud7ff𐏿" * 1000])
def test_any_text_has_an_appraisal(text: str) -> None:
    quality, tokens = appraised(user(text)).of("acme/weak")
    assert 0 <= quality <= 1
    assert tokens >= 1


def test_ten_thousand_messages_are_read_from_the_end() -> None:
    many = [user("a"), {"role": "assistant", "content": "b"}] * 5_000
    assert said(asked(*many).messages, CUES) == "a\na\na\na"


def test_the_last_words_decide_and_not_the_ones_before() -> None:
    code = user("Write a Python function that sorts a list.")
    poem = user("Write a poem about the sea in the style of Keats.")
    answer = {"role": "assistant", "content": "ok"}
    assert appraised(code, answer, poem).judgement.category == "creative"
    assert appraised(poem, answer, code).judgement.category == "code"
    assert appraised(code, answer, user("thanks")).judgement.category == "code"

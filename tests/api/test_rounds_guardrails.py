"""Plugins and the operator's rules: what each of the two sees of the other's words."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from kproxy.api.plugged import Found
from kproxy.guard.rules import make_rule
from kproxy.plugins.source import Source
from tests.api.test_guardrails import CARD, MASK, WORDS, guardrails, user
from tests.fakes.house import House
from tests.fakes.plugged import Adder, Finder, Reader, plugged, reply, sent, tool_call
from tests.fakes.rounds import asked, both, ours_of, said

LAST = [(1.0, reply("Hi <EMAIL_1>"))]


class Mail(Adder):
    """A tool that says something of its own."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    async def call(self, arguments: str) -> Any:
        result = await super().call('{"a":1,"b":1}')
        self.asked[-1] = arguments
        return result._replace(text=self.text)


class Page(Finder):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    async def find(self, asking: Any) -> Found:
        await super().find(asking)
        return Found([Source("A page", "https://a.test/", self.text)])


def house_of(nursery: trio.Nursery, plugins: Any, *script: Any, rules: Any = (MASK, CARD)) -> House:
    guard = guardrails(*rules)
    return House(nursery, scripts={"cheap": [script]}, guardrails=guard, plugins=plugins)


def contents(house: House, number: int = 0) -> list[str]:
    request = sent(house.providers["cheap"].connections[0].requests[number])
    return [one["content"] for one in request["messages"]]


@both
async def test_a_tool_gets_what_the_model_said_and_the_model_what_rules_leave(
    autojump_clock: MockClock, nursery: trio.Nursery, stream: bool
) -> None:
    call = tool_call(arguments='{"to":"<EMAIL_1>"}')
    mail = Mail("Sent to bob@b.co with 4111111111111111")
    rounds = [said(stream, "I write to <EMAIL_1>, <", call), said(stream, "Sent to <EMAIL_2>.")]
    house = house_of(nursery, mail.plugins(), *rounds)
    answer = await asked(house, stream=stream, messages=user("I am ann@b.co"))
    assert mail.asked == ['{"to":"<EMAIL_1>"}']
    assert contents(house, 0) == ["I am <EMAIL_1>"]
    assert contents(house, 1)[1:] == ["I write to <EMAIL_1>, <", "Sent to <EMAIL_2> with <CARD>"]
    assert answer.text == "I write to ann@b.co, <\n\nSent to bob@b.co."
    assert [one["count"] for one in ours_of(answer)["guardrails"]] == [2, 1]


async def test_a_search_is_made_with_the_words_that_rules_leave(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    page = Page("Mail carl@c.co, card 4111111111111111.")
    house = house_of(nursery, plugged(web_search=page.plugin()), LAST)
    answer = await asked(house, stream=False, plugins=["web-search"], messages=user("I am a@b.co"))
    assert page.asked[0].words == "I am <EMAIL_1>"
    (content,) = contents(house)
    assert "Mail <EMAIL_2>, card <CARD>." in content
    assert answer.text == "Hi a@b.co"


async def test_what_is_blocked_is_searched_by_nobody(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    page = Page("x")
    house = house_of(nursery, plugged(web_search=page.plugin()), LAST, rules=[WORDS])
    asking = {"plugins": ["web-search"], "messages": user("a forbidden word")}
    answer = await asked(house, stream=False, **asking)
    assert (answer.status, answer.error["code"]) == (400, "content_blocked")
    assert page.asked == []


async def test_what_was_found_and_is_blocked_is_left_out(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    page = Page("a forbidden word")
    house = house_of(nursery, plugged(web_search=page.plugin()), LAST, rules=[WORDS])
    answer = await asked(house, stream=False, plugins=["web-search"])
    assert contents(house) == ["Hello!"]
    (report,) = ours_of(answer)["plugins"]
    assert (report["ok"], report["error"]) == (False, "content_blocked")


@both
async def test_a_result_that_is_blocked_is_not_told(
    autojump_clock: MockClock, nursery: trio.Nursery, stream: bool
) -> None:
    mail = Mail("a forbidden word")
    mail.shown = "x"
    rounds = [said(stream, None, tool_call()), said(stream, "Well.")]
    house = house_of(nursery, mail.plugins(price=7), *rounds, rules=[WORDS])
    answer = await asked(house, stream=stream)
    assert answer.text == "Well."
    assert contents(house, 1)[-1] == "[error: content_blocked]"
    assert house.receipts[0].attempts[0].cost == 7, "it was made all the same"


async def test_what_was_read_is_looked_at(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    reader = Reader()
    rule = make_rule("block", (), name="read", builtin=None, pattern="READ")
    house = house_of(nursery, plugged(pdf_reader=reader.plugin()), LAST, rules=[rule])
    answer = await asked(house, stream=False, plugins=["pdf-reader"])
    assert (answer.status, answer.error["code"]) == (400, "content_blocked")


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_is_blocked_in_a_later_round(
    autojump_clock: MockClock, nursery: trio.Nursery, stream: bool
) -> None:
    rounds = [said(stream, "One", tool_call()), said(stream, "a forbidden word ")]
    house = house_of(nursery, Adder().plugins(), *rounds, rules=[WORDS])
    answer = await asked(house, stream=stream)
    error = answer.chunks[-1]["error"] if stream else answer.error
    assert error["code"] == "content_blocked"
    assert b"forbidden" not in answer.body
    assert house.at_rest()

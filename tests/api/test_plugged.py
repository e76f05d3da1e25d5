"""What plugins do before a request is planned: found, read, reported, in time."""

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest
import trio
from msgspec import Raw
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from kproxy.admission.keys import Account, KeyRecord, digest
from kproxy.admission.quota import Amount
from kproxy.api.plugged import Asking, Plugins, Preparation, asking_of
from kproxy.dialect.context import file_text
from kproxy.dialect.openai import OpenAI
from kproxy.errors import NotCarried, Rejected
from kproxy.plugins.source import PluginFailed
from kproxy.schema.chat import decode_chat
from kproxy.schema.jsonlimits import JsonLimits
from kproxy.schema.receipt import PluginReport
from tests.api.test_chat_cancelled import idle, serve_one
from tests.fakes.caller import Answer, chat
from tests.fakes.cancel import cancelled_at
from tests.fakes.house import KEY, House, model
from tests.fakes.ledgers import NoLimits, Reserved
from tests.fakes.plugged import Adder, Finder, Reader, plugged, reply, sent
from tests.fakes.streams import GOOD, listen, streamed

WHOLE = [(1.0, reply("Hi"))]
FREE = KeyRecord(
    Account("acct_1", "default", "free", 0), "key_1", digest(KEY.encode()), "n", KEY[:8], 0
)


def house_of(nursery: trio.Nursery, *, script: Any = WHOLE, **offered: Any) -> House:
    return House(nursery, scripts={"cheap": [[script]]}, plugins=plugged(**offered))


def asked_of(house: House) -> Any:
    """What the provider was sent."""
    return sent(house.providers["cheap"].connections[0].requests[0])


def reports(answer: Answer) -> Any:
    return answer.json()["x_kairosroute"]["plugins"]


async def test_what_was_found_stands_before_the_words_of_the_user(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    finder = Finder(seconds=2)
    house = house_of(nursery, web_search=finder.plugin())
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "At what heat?"}]
    answer = await house.ask(plugins=["web-search"], messages=messages, user="Ada")
    assert finder.asked == [Asking("acct_1", "Ada", "At what heat?")]
    system, user = asked_of(house)["messages"]
    assert system == messages[0]
    assert user["content"].startswith("<context-")
    assert "[1] A page <https://a.test/>\nWater boils at 100 degrees." in user["content"]
    assert user["content"].endswith("\n\nAt what heat?")
    cited = [{"n": 1, "title": "A page", "url": "https://a.test/"}]
    report = {"id": "web-search", "ok": True, "ms": 2_000.0, "sources": 1}
    assert reports(answer) == [{**report, "cited": cited}]
    assert house.receipts[0].plugins == (PluginReport("web-search", True, 2_000.0, 1),)
    (receipt,) = house.receipts
    assert [one.id for one in receipt.plugins] == ["web-search"]
    assert b"Water" not in json.dumps(str(receipt)).encode()


async def test_the_added_text_counts(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """In the estimate that the plan and the reservation are made with."""
    house = house_of(nursery, web_search=Finder().plugin())
    await house.ask(plugins=["web-search"])
    before, after = house.limits.asked
    assert after.tokens > before.tokens + 50
    assert house.limits.held == []


async def test_the_router_is_asked_about_the_users_own_words(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    judged: list[Any] = []
    house = House(
        nursery,
        scripts={"cheap": [[WHOLE]]},
        plugins=plugged(web_search=Finder().plugin()),
        appraise=lambda request: judged.append(request.messages[-1].content),
    )
    await house.ask(plugins=["web-search"])
    assert set(judged) == {"Hello!"}


async def test_they_work_beside_each_other(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    first, second = Finder(seconds=3), Finder(seconds=4)
    house = house_of(nursery, web_search=first.plugin(), gutenberg=second.plugin("From books"))
    answer = await house.ask(plugins=["gutenberg", "web-search", "gutenberg"])
    assert trio.current_time() == 5
    assert [(one["id"], one["ms"]) for one in reports(answer)] == [
        ("gutenberg", 4_000.0),
        ("web-search", 3_000.0),
    ]
    content = asked_of(house)["messages"][0]["content"]
    assert content.index("From books") < content.index("From the web")
    assert "[2] A page" in content
    assert len(second.asked) == 1


async def test_a_stream_says_it_in_its_last_chunk(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = house_of(nursery, script=GOOD, web_search=Finder().plugin())
    answer = await listen(streamed(house, plugins=["web-search"]))
    assert answer.text == "Onetwo"
    assert answer.chunks[-1]["x_kairosroute"]["plugins"][0]["id"] == "web-search"


@pytest.mark.parametrize(
    ("finder", "why", "took"),
    [
        (Finder(error=PluginFailed("searxng: no answer")), "searxng: no answer", 0.0),
        (Finder(error=RuntimeError("secret words")), "it failed", 0.0),
        (Finder(error=ExceptionGroup("several", [OSError("secret words")])), "it failed", 0.0),
        (Finder(seconds=100), "it took too long", 8_000.0),
    ],
    ids=["failed", "a mistake", "several", "late"],
)
async def test_a_failure_is_reported_and_the_request_goes_on(
    autojump_clock: MockClock,
    nursery: trio.Nursery,
    finder: Finder,
    why: str,
    took: float,
    caplog: pytest.LogCaptureFixture,
) -> None:
    house = house_of(nursery, web_search=finder.plugin())
    answer = await house.ask(plugins=["web-search"])
    assert answer.text == "Hi"
    assert reports(answer) == [{"id": "web-search", "ok": False, "ms": took, "error": why}]
    assert asked_of(house)["messages"] == [{"role": "user", "content": "Hello!"}]
    assert "secret words" not in caplog.text


async def test_half_of_what_is_left_of_the_deadline_is_the_answers(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = house_of(nursery, web_search=Finder(seconds=7).plugin())
    answer = await house.ask(plugins=["web-search"], x_kairosroute={"deadline_ms": 8_000})
    assert answer.status == 200
    assert house.providers["cheap"].dialled == [4.0]
    assert reports(answer) == [
        {"id": "web-search", "ok": False, "ms": 4000.0, "error": "it took too long"}
    ]
    assert house.counted("kproxy_plugins_total", plugin="web-search", end="failed") == 1
    assert house.at_rest()


async def test_a_reader_changes_the_messages(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = house_of(nursery, pdf_reader=Reader().plugin(), web_search=Finder().plugin())
    answer = await house.ask(plugins=["pdf-reader", "web-search"])
    content = asked_of(house)["messages"][0]["content"]
    assert content.startswith("<context-")
    assert content.endswith("\n\nREAD")
    assert reports(answer)[0] == {"id": "pdf-reader", "ok": True, "ms": 0.0, "sources": 1}


async def test_what_is_read_need_not_be_taken_by_who_answers(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    class Wordless(OpenAI):
        """Takes no parts."""

        def refuses(self, fields: Mapping[str, Raw]) -> NotCarried | None:
            parts = b'"type"' in bytes(fields["messages"])
            return NotCarried("messages", "no parts") if parts else None

    offered = plugged(pdf_reader=Reader().plugin())
    house = House(
        nursery,
        models=[model("cheap/m")],
        scripts={"cheap": [[WHOLE]]},
        plugins=offered,
        speaks={"cheap": Wordless()},
    )
    parts = [{"role": "user", "content": [{"type": "text", "text": "Hello!"}]}]
    assert (await house.ask(plugins=["pdf-reader"], messages=parts)).text == "Hi"
    refused = await house.ask(messages=parts)
    assert (refused.status, refused.error["code"]) == (400, "unsupported_parameter")


async def test_what_cannot_be_read_cannot_be_answered(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    reader = Reader(error=PluginFailed("pdf: the file is encrypted"))
    house = house_of(nursery, pdf_reader=reader.plugin())
    answer = await house.ask(plugins=["pdf-reader"])
    assert (answer.status, answer.error["code"]) == (400, "plugin_failed")
    assert answer.error["param"] == "messages"
    assert "the file is encrypted" in answer.error["message"]
    assert house.receipts == []
    assert house.at_rest()


# --- refused before any work


class NoRoom(NoLimits):
    """Everything is used up."""

    def reserve(self, account_id: str, tier: Any, asked: Amount, now: float) -> Reserved:
        raise Rejected(429, "insufficient_quota", "Nothing is left.")


@pytest.mark.parametrize(
    ("members", "more", "expected"),
    [
        ({"plugins": ["nope"]}, {}, (400, "invalid_request_error")),
        ({"plugins": ["gutenberg"]}, {}, (400, "plugin_not_available")),
        ({"plugins": ["memory"]}, {"record": FREE}, (403, "PLUGIN_REQUIRES_PAID")),
        ({"zdr": True}, {}, (400, "invalid_request_error")),
        ({"model": "nobody"}, {}, (404, "model_not_found")),
        ({}, {"limits": NoRoom()}, (429, "insufficient_quota")),
        ({"user": 7}, {}, (400, "invalid_request_error")),
        ({"user": "u" * 257}, {}, (400, "invalid_request_error")),
    ],
    ids=str,
)
async def test_refused_before_any_work(
    autojump_clock: MockClock, nursery: trio.Nursery, members: Any, more: Any, expected: Any
) -> None:
    finder = Finder()
    offered = plugged(web_search=finder.plugin(), memory=finder.plugin())
    house = House(nursery, scripts={"cheap": [[WHOLE]]}, plugins=offered, **more)
    answer = await house.ask(**{"plugins": ["web-search"], **members})
    assert (answer.status, answer.error["code"]) == expected
    assert finder.asked == []
    assert house.providers["cheap"].dialled == []
    assert house.receipts == []


@pytest.mark.parametrize(("zdr", "sources"), [(False, 1), (True, None)])
async def test_zdr_turns_off_what_keeps_words(
    autojump_clock: MockClock, zdr: bool, sources: int | None
) -> None:
    finder = Finder()
    call = decode_chat(chat(plugins=["memory"], zdr=zdr), JsonLimits())
    offered = plugged(memory=finder.plugin(off_under_zdr=True))
    work = Preparation(offered, call, asking_of(call, "acct_1"), 100)
    ready = await work.find(await work.read("n"), "n", None)
    assert len(finder.asked) == (not zdr)
    assert (ready == call) is zdr
    error = "off, because of 'zdr'" if zdr else None
    (report,) = work.plugged().reports
    assert replace(report, cited=()) == PluginReport("memory", not zdr, 0.0, sources, error=error)


async def test_nothing_is_looked_for_with_the_text_of_a_file(autojump_clock: MockClock) -> None:
    finder = Finder()
    texts = ("Sum it up", file_text("a.pdf", "I live in Oslo.", "n"))
    content = [{"type": "text", "text": text} for text in texts]
    messages = [{"role": "user", "content": content}]
    call = decode_chat(chat(plugins=["memory"], messages=messages), JsonLimits())
    work = Preparation(plugged(memory=finder.plugin()), call, asking_of(call, "acct_1"), 100)
    await work.find(await work.read("n"), "n", None)
    assert [asked.words for asked in finder.asked] == ["Sum it up"]


@pytest.mark.parametrize("plugin", ["web-search", "gutenberg", "image-gen"])
async def test_zdr_refuses_what_sends_words_away(
    autojump_clock: MockClock, nursery: trio.Nursery, plugin: str
) -> None:
    finder = Finder()
    house = house_of(nursery, **{plugin.replace("-", "_"): finder.plugin()})
    answer = await house.ask(plugins=[plugin], zdr=True)
    assert (answer.status, answer.error["param"]) == (400, "plugins")
    assert plugin in answer.error["message"]
    assert finder.asked == []


async def test_tools_that_are_not_called_are_reported(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = House(nursery, scripts={"cheap": [[WHOLE]]}, plugins=Adder().plugins())
    answer = await house.ask(plugins=["code-exec"])
    assert reports(answer) == [{"id": "code-exec", "ok": True, "ms": 0.0, "calls": 0}]


async def test_without_plugins_nothing_is_done(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    finder = Finder()
    house = house_of(nursery, web_search=finder.plugin())
    answer = await house.ask(user=7)
    assert finder.asked == []
    assert len(house.limits.asked) == 1
    assert "plugins" not in answer.json()["x_kairosroute"]


async def test_nothing_is_left_wherever_it_is_cancelled(autojump_clock: MockClock) -> None:
    body, step, goes_on = chat(plugins=["web-search", "pdf-reader"]), 0, True
    while goes_on:
        step += 1
        async with trio.open_nursery() as nursery:
            house = house_of(
                nursery, web_search=Finder(seconds=1).plugin(), pdf_reader=Reader().plugin()
            )
            goes_on = await cancelled_at(step, partial(serve_one, house, body), every_task=True)
            await wait_all_tasks_blocked()
            assert house.at_rest()
            assert sum(one.open for one in house.providers.values()) == idle(house)
            nursery.cancel_scope.cancel()
    assert step > 5


def test_nothing_is_offered_unless_configured() -> None:
    assert Plugins().offered == {}

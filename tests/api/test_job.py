"""What became of an attempt: counted once, closed always; and what an answer cost."""

import re

import pytest
import trio
from trio.testing import MockClock

from tests.fakes.house import DEAR, House, model
from tests.fakes.scripted import Act, ok


def reply(usage: bytes) -> list[tuple[float, bytes]]:
    text = b'{"content":"abcdefgh"}'
    choice = b'{"index":0,"message":%b,"finish_reason":"stop"}' % text
    return [(0.0, ok(b'{"choices":[%b],"usage":%b}' % (choice, usage)))]


TOLD = reply(b'{"prompt_tokens":1000000,"completion_tokens":100000}')


async def test_each_attempt_is_counted_once(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = House(nursery, scripts={"cheap": [[[(1.0, Act.CLOSE)]]], "dear": [[TOLD]]})
    answer = await house.ask()
    assert answer.json()["x_kairosroute"]["attempts"] == 2
    attempts = "kproxy_attempts_total"
    assert house.counted(attempts, provider="cheap", model="m", ending="fault") == 1
    assert house.counted(attempts, provider="dear", model="m", ending="complete") == 1
    assert house.counted("kproxy_faults_total", provider="cheap", fault="closed_early") == 1
    assert house.at_rest()


async def test_cost_and_savings(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """1 M at 1 USD and 0.1 M at 2 USD; the reference takes ten times as much."""
    house = House(nursery, scripts={"cheap": [[TOLD]]})
    answer = await house.ask()
    assert answer.headers["x-kairosroute-cost"] == "1.2"
    assert answer.headers["x-kairosroute-savings"] == "10.8"
    assert answer.json()["x_kairosroute"]["savings_usd"] == 10.8
    assert house.counted("kproxy_cost_usd_total", provider="cheap", model="m") == 1.2
    tokens = "kproxy_tokens_total"
    assert house.counted(tokens, provider="cheap", model="m", type="prompt") == 1_000_000
    assert house.counted(tokens, provider="cheap", model="m", type="completion") == 100_000


@pytest.mark.parametrize("name", ["m", "cheap/m"])
async def test_what_is_pinned_saves_nothing(
    autojump_clock: MockClock, nursery: trio.Nursery, name: str
) -> None:
    house = House(nursery, models=[model("cheap/m")], scripts={"cheap": [[TOLD]]})
    answer = await house.ask(model=name)
    assert answer.headers["x-kairosroute-savings"] == "0"
    assert answer.json()["x_kairosroute"]["routed_from"] == name


async def test_the_reference_itself_saves_nothing(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = House(nursery, models=[model("dear/m", DEAR)], scripts={"dear": [[TOLD]]})
    assert (await house.ask()).json()["x_kairosroute"]["savings_usd"] == 0


@pytest.mark.parametrize("usage", [b"null", b"{}", b'{"prompt_tokens":-1,"completion_tokens":1}'])
async def test_usage_that_is_not_told_is_estimated(
    autojump_clock: MockClock, nursery: trio.Nursery, usage: bytes
) -> None:
    house = House(nursery, scripts={"cheap": [[reply(usage)]]})
    answer = await house.ask()
    assert answer.json()["x_kairosroute"]["estimated"] is True
    assert answer.json()["x_kairosroute"]["cost_usd"] > 0


async def test_receipts_have_different_names(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = House(nursery, scripts={"cheap": [[TOLD, TOLD]]})
    first, second = await house.ask(), await house.ask()
    names = {one.headers["x-kairosroute-receipt"] for one in (first, second)}
    assert len(names) == 2
    assert all(re.fullmatch("rcpt_[0-9a-f]{24}", name) for name in names)
    since = {name[5:15] for name in names}
    assert since == {f"{int(256 * house.service.unix_now()):010x}"}, "written at one place"

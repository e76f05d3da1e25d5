"""What calls of tools have cost that came to nothing."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from kproxy.admission.quota import Amount
from kproxy.outcome import Ending, Usage
from kproxy.plugins.source import PluginFailed
from tests.fakes.house import House
from tests.fakes.plugged import Adder, round_of, tool_call
from tests.fakes.rounds import LAST, PLUGINS, ROUND, USED, asked, both, house_of, ours_of, said
from tests.fakes.streams import streamed

PRICE = 40_000_000
UNSURE = Usage(estimated=True)


def line_of(house: House) -> tuple[Ending, str | None, int | None, Usage | None]:
    """How the tool's call stands on the one receipt."""
    lines = [one for one in house.receipts[0].attempts if one.provider == "code-exec"]
    (line,) = lines
    return line.ending, line.fault, line.cost, line.usage


@both
async def test_a_call_that_the_deadline_ends_is_on_the_receipt(
    autojump_clock: MockClock, nursery: trio.Nursery, stream: bool
) -> None:
    adder = Adder(seconds=9)
    rounds = said(stream, "One", tool_call())
    house = house_of(nursery, adder, rounds, plugins=adder.plugins(price=PRICE))
    await asked(house, stream=stream, x_kairosroute={"deadline_ms": 9_000})
    assert line_of(house) == (Ending.CANCELLED, None, PRICE, UNSURE)
    (report,) = house.receipts[0].plugins
    assert (report.ok, report.calls, report.error) == (False, 1, "it was cut off")
    assert house.receipts[0].execution.cost == 2_000_000 + PRICE
    paid = [Amount(USED, 2_000_000 + PRICE)] if stream else []
    assert house.limits.settled == paid, "a whole answer that failed costs nothing"
    assert house.at_rest()


async def test_a_call_whose_caller_leaves_is_charged(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    adder = Adder(seconds=9)
    plugins = adder.plugins(price=PRICE)
    house = house_of(nursery, adder, round_of(["One"], tool_call()), plugins=plugins)
    talking = streamed(house, plugins=PLUGINS)
    await trio.sleep(9)
    talking.link.close()
    await wait_all_tasks_blocked()
    assert line_of(house) == (Ending.CANCELLED, None, PRICE, UNSURE)
    assert house.limits.settled == [Amount(USED, 2_000_000 + PRICE)]
    assert house.at_rest()


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PluginFailed("refused", spent=False), (Ending.FAULT, "unavailable", 0, None)),
        (PluginFailed("broke", spent=True), (Ending.FAULT, "unavailable", PRICE, UNSURE)),
        (RuntimeError(), (Ending.ERROR, None, PRICE, UNSURE)),
        (trio.TooSlowError(), (Ending.FAULT, "total_timeout", PRICE, UNSURE)),
    ],
)
async def test_a_call_that_fails_is_on_the_receipt(
    autojump_clock: MockClock, nursery: trio.Nursery, error: Exception, line: object
) -> None:
    adder = Adder(error=error)
    plugins = adder.plugins(price=PRICE)
    house = house_of(nursery, adder, [(1.0, ROUND)], [(1.0, LAST)], plugins=plugins)
    answer = await asked(house, stream=False)
    assert line_of(house) == line
    assert ours_of(answer)["plugins"][0]["ok"] is False
    assert house.limits.settled == [Amount(2 * USED, 4_000_000)], "a fault of others is free"


async def test_a_call_that_asked_nobody_is_not_on_the_receipt(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    adder = Adder(error=PluginFailed("nothing to draw"))
    plugins = adder.plugins(price=PRICE)
    house = house_of(nursery, adder, [(1.0, ROUND)], [(1.0, LAST)], plugins=plugins)
    await asked(house, stream=False)
    assert [one.provider for one in house.receipts[0].attempts] == ["cheap", "cheap"]

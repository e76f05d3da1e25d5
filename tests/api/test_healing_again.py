"""Asking once more: what is held back for it, and who is not asked."""

import trio
from trio.testing import MockClock

from kproxy.routing.estimate import estimate_prompt_tokens
from tests.api.test_healing import OBJECT, content, one, ours, says
from tests.fakes.house import DEAR, House, model
from tests.fakes.scripted import ok

LONG = "No. " * 2_000


async def test_what_is_held_back_counts_the_answer_that_is_quoted(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = one(nursery, says(LONG), says("{}"))
    assert content(await house.ask(**OBJECT)) == "{}"
    first, second = house.limits.asked
    assert second.tokens - first.tokens > estimate_prompt_tokens(LONG.encode()) * 9 // 10
    assert house.at_rest()


async def test_the_cost_cap_counts_it_too(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Twice the first estimate would be within it: what was spent is 0.002 USD."""
    cap = {"max_cost_usd": 0.0035}
    answer = await one(nursery, says(LONG), says("{}")).ask(x_kairosroute=cap, **OBJECT)
    assert (content(answer), ours(answer)["attempts"]) == (LONG, 1)
    answer = await one(nursery, says("No."), says("{}")).ask(x_kairosroute=cap, **OBJECT)
    assert (content(answer), ours(answer)["attempts"]) == ("{}", 2)


async def test_who_rests_is_not_asked_where_another_can_answer(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """The next one said meanwhile that it rests: the same one is asked again."""
    house = House(
        nursery,
        models=[model("cheap/m"), model("dear/m", DEAR)],
        scripts={"cheap": [[[(3.0, says("No.")[0][1])], says("{}")]], "dear": [[[(1.0, busy())]]]},
    )
    async with trio.open_nursery() as both:
        both.start_soon(_ask_dear, house)
        answer = await house.ask(**OBJECT)
    assert (content(answer), ours(answer)["provider"]) == ("{}", "Cheap")
    assert ours(answer)["healing"] == ["asked_again"]
    assert len(house.providers["dear"].dialled) == 1


def busy() -> bytes:
    return ok(b"{}", 429, b"retry-after: 60")


async def _ask_dear(house: House) -> None:
    await house.ask(model="dear/m")

"""More to do than can be done: refused at once with a time to come back, and before that nobody."""

from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from kproxy.api.service import Pressure
from tests.fakes.caller import Answer
from tests.fakes.house import House, model
from tests.fakes.ledgers import NoLimits
from tests.fakes.scripted import ok

REPLY = (
    b'{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}]}'
)


class Counting(NoLimits):
    """Notes who took a turn of its rate."""

    def __init__(self) -> None:
        super().__init__()
        self.taken = 0

    def take(self, *arguments: object) -> None:
        self.taken += 1


async def test_a_late_loop_refuses_its_share(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    turn = [100.0]
    limits = Counting()
    scripts = {"cheap": [[[(1, ok(REPLY))]] * 9]}
    house = House(nursery, scripts=scripts, limits=limits, pressure=Pressure(lambda: turn[0]))
    answer = await house.ask(model="cheap/m")
    assert (answer.status, answer.error["code"]) == (503, "overloaded")
    assert 1 <= int(answer.headers["retry-after"]) <= 3
    assert (limits.taken, house.receipts) == (0, []), "it cost its account nothing"
    assert (await house.get("/readyz")).status == 200
    assert (await house.get("/v1/models")).status == 200
    assert (await house.send("POST", "/v1/chat/completions", body=b"{}")).status == 401
    turn[0] = 0.25
    assert (await house.ask(model="cheap/m")).status == 200


async def test_who_was_admitted_goes_on(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    turn = [0.0]
    scripts = {"cheap": [[[(5, ok(REPLY, 500))], [(5, ok(REPLY))]]]}
    house = House(nursery, scripts=scripts, pressure=Pressure(lambda: turn[0]))
    answers: list[Answer] = []
    nursery.start_soon(partial(_ask, house, answers, model="cheap/m"))
    await wait_all_tasks_blocked()
    turn[0] = 100.0
    await trio.sleep(30)
    assert [one.status for one in answers] == [200], "its repeat, too"


async def _ask(house: House, answers: list[Answer], **fields: object) -> None:
    answers.append(await house.ask(**fields))


@pytest.mark.parametrize("name", ["cheap/m", "m"])
async def test_a_provider_with_a_queue_is_left_out(
    autojump_clock: MockClock, nursery: trio.Nursery, name: str
) -> None:
    """Its four connections are taken, and the fifth request has waited for six seconds."""
    slow, quick = [(20, ok(REPLY))], [(0, ok(REPLY))]
    scripts = {"cheap": [[slow, quick]] * 4, "dear": [[quick]]}
    house = House(nursery, scripts=scripts, models=(model("cheap/m"), model("dear/m")))
    house.policy(timeouts=house.timeouts.__class__(total=100, first_token=50, gap=50))
    answers: list[Answer] = []
    for _ in range(5):
        nursery.start_soon(partial(_ask, house, answers, model="cheap/m"))
    await trio.sleep(4)
    assert house.service.queues(trio.current_time()) == {}
    await trio.sleep(2)
    assert house.service.queues(trio.current_time()) == {"cheap": 6}
    answer = await house.ask(model=name)
    assert trio.current_time() == 6
    if name == "m":
        assert answer.headers["x-kairosroute-provider"] == "dear"
    else:
        assert (answer.status, answer.error["code"]) == (503, "all_models_unavailable")
        assert answer.headers["retry-after"] == "6"
        assert "wait for one" in answer.error["message"]
    await trio.sleep(30)
    assert [one.status for one in answers] == [200] * 5, "who waited was served"
    assert house.at_rest()

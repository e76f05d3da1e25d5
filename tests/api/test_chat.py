"""The order of a chat request's steps: each refuses before the next one costs anything."""

import pytest
import trio
from trio.testing import MockClock

from kproxy.api.chat import complete_chat
from kproxy.api.routes import ROUTES
from kproxy.catalog.load import RouteTimeouts
from tests.fakes.caller import chat, request
from tests.fakes.house import DEAR, KEY, House, Talking, model
from tests.fakes.scripted import ok

REPLY = ok(
    b'{"choices":[{"index":0,"message":{"content":"Hi"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":1,"completion_tokens":1}}'
)
SAYS_HI = [[(0.0, REPLY)]]
CHAT = "/v1/chat/completions"


def test_it_is_the_handler() -> None:
    assert ROUTES[CHAT.encode()][b"POST"].handler is complete_chat


async def test_a_stranger_is_refused_before_the_body_is_read(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """The body never comes, and the answer does not wait for it."""
    house = House(nursery)
    talking = Talking(house, request("POST", CHAT, "content-length: 1000"))
    await talking.until(lambda: b"invalid_api_key" in talking.raw)
    assert talking.answer().status == 401
    assert trio.current_time() == 0


@pytest.mark.parametrize(
    ("members", "status"),
    [
        ({"temperature": 3}, 400),
        ({"plugins": ["nope"]}, 400),
        ({"x_kairosroute": {"heal": "buffer"}}, 400),
        ({"model": "gpt-0"}, 404),
        ({"zdr": True}, 400),
        ({"x_kairosroute": {"max_cost_usd": 0}}, 402),
    ],
)
async def test_nothing_is_dispatched_for_what_is_refused(
    autojump_clock: MockClock, nursery: trio.Nursery, members: dict[str, object], status: int
) -> None:
    house = House(nursery, scripts={"cheap": [SAYS_HI]})
    answer = await house.ask(**members)
    assert answer.status == status
    assert "x-kairosroute-receipt" not in answer.headers
    assert all(provider.dialled == [] for provider in house.providers.values())
    assert house.counted("kproxy_requests_total", route=CHAT, status=str(status)) == 1


async def test_the_cheapest_answers(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    house = House(nursery, scripts={"cheap": [SAYS_HI], "dear": [SAYS_HI]})
    assert (await house.ask()).headers["x-kairosroute-provider"] == "cheap"
    assert (await house.ask(model="dear/m")).headers["x-kairosroute-provider"] == "dear"


async def test_what_goes_upstream(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """The caller's members as they came, the provider's name, and nothing of ours or theirs."""
    house = House(nursery, models=[model("cheap/m")], scripts={"cheap": [SAYS_HI]})
    fields = (f"authorization: Bearer {KEY}", "openai-organization: o", "cookie: a=b")
    body = chat(zdr=False, seed=7, x_kairosroute={"explain": False})
    assert (await house.send("POST", CHAT, *fields, body=body)).status == 200
    head, _, sent = house.providers["cheap"].connections[0].requests[0].partition(b"\r\n\r\n")
    messages = b'"messages": [{"role": "user", "content": "Hello!"}]'
    assert sent == b'{"model":"m","messages":' + messages.partition(b": ")[2] + b',"seed":7}'
    assert KEY.encode() not in head
    assert b"cookie" not in head


async def test_a_stream_is_streamed(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    stop = b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n'
    house = House(nursery, scripts={"cheap": [[[(0.0, ok(stop))]]]})
    answer = await house.ask(stream=True)
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.text == "a"
    assert answer.data[-1] == "[DONE]"


async def test_the_deadline_counts_from_the_arrival(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """A body that takes all of the time leaves none for an attempt."""
    house = House(nursery, scripts={"cheap": [SAYS_HI]})
    data = request(
        "POST", CHAT, f"x-api-key: {KEY}", body=chat(x_kairosroute={"deadline_ms": 1000})
    )
    talking = Talking(house, data[:-1])
    await trio.sleep(2)
    await talking.link.send_all(data[-1:])
    await talking.until(lambda: b"deadline_exceeded" in talking.raw)
    assert talking.answer().status == 504
    assert house.providers["cheap"].dialled == []
    assert house.receipts[0].attempts == ()
    assert house.at_rest()


async def test_a_routes_own_total_binds_its_attempts(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    slow = model("cheap/m", timeouts=RouteTimeouts(total=3.0))
    house = House(nursery, models=[slow, model("dear/m", DEAR)], scripts={"dear": [SAYS_HI]})
    house.providers["cheap"]._script.append([[]])
    answer = await house.ask()
    assert answer.headers["x-kairosroute-provider"] == "dear"
    assert house.receipts[0].attempts[0].ended == 3

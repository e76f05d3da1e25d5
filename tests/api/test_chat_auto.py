"""`auto` over HTTP: what the router says is on the receipt, and a conversation stays."""

import msgspec
import trio
from trio.testing import MockClock

from kproxy.catalog.load import Price
from kproxy.routing.appraise import Appraisal
from kproxy.routing.dial import Judgement
from kproxy.routing.table import Rate
from tests.fakes.house import House, model
from tests.fakes.scripted import ok

REPLY = ok(
    b'{"choices":[{"index":0,"message":{"content":"Hi"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":1,"completion_tokens":1}}'
)
FAILS = [[(0.0, b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n")]]
SAYS_HI = [[(0.0, REPLY)]]
HELLO = {"role": "user", "content": "Hello"}
HI = {"role": "assistant", "content": "Hi"}
JUDGED = Appraisal(
    Judgement(
        category="code",
        confidence=0.5,
        nearest="loops",
        novel=False,
        novelty=0.0,
        quality=(0.88, 0.9),
        output_tokens=(10.0, 10.0),
        standing=(0.88, 0.9),
        rates=(Rate(0.98, 0.1),),
    ),
    {"cheap/m": 0, "dear/m": 1},
    frozenset(),
    "abc",
)


async def test_the_receipt_says_what_the_router_said(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = House(nursery, scripts={"cheap": [SAYS_HI]}, appraise=lambda request: JUDGED)
    answer = await house.ask(x_kairosroute={"explain": True})
    told = msgspec.json.decode(answer.body)["x_kairosroute"]
    assert told["explain"]["classification"]["category"] == "code"
    assert [one["score"] for one in told["explain"]["candidates"]] == [0.88, 0.9]
    (receipt,) = house.receipts
    assert receipt.classification is not None
    assert (receipt.classification.category, receipt.policy_version) == ("code", "2-abc")


async def test_a_pinned_model_is_not_judged(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    asked: list[object] = []
    house = House(nursery, scripts={"cheap": [SAYS_HI]}, appraise=asked.append)
    await house.ask(model="cheap/m")
    assert asked == []
    assert house.receipts[0].classification is None


async def test_the_next_turn_goes_to_who_answered(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    scripts = {"cheap": [FAILS, SAYS_HI], "dear": [SAYS_HI * 2] * 2}
    models = (model("cheap/m"), model("dear/m", Price.from_usd(1.5, 3)))
    house = House(nursery, models, scripts, appraise=lambda request: JUDGED)
    await house.ask(messages=[HELLO])  # cheap fails, dear answers
    await trio.sleep(100)  # cheap has rested
    await house.ask(messages=[HELLO, HI, HELLO])
    await house.ask(messages=[HI, HI, HELLO])
    assert [one.attempts[-1].provider for one in house.receipts] == ["dear", "dear", "cheap"]
    reasons = {one.provider: one.reasons for one in house.receipts[1].candidates}
    assert "answered the turn before" in reasons["dear"]

"""Operator's rules on answers that are to be JSON: they are JSON afterwards, or it is said."""

import json
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from kproxy.api.guardrails import Guardrails
from kproxy.guard.rules import make_rule, rulesets
from tests.api.test_healing import OBJECT, content, ours, says
from tests.fakes.house import House, model
from tests.fakes.streams import END, HEAD, ROLE, chunk, event, listen, streamed

CARD = make_rule("redact", (), name="", builtin="card", pattern=None)
EMAIL = make_rule("redact", (), name="", builtin="email", pattern=None)
NICK = make_rule("mask", (), name="nick", builtin=None, pattern=r'nick "[a-z]{1,20}"')
NUMBER = "4111111111111111"


def house(nursery: trio.Nursery, answer: Any, *rules: Any) -> House:
    guard = Guardrails(*rulesets(rules), None, trio.CapacityLimiter(1))
    scripts = {"cheap": [[answer]]}
    return House(nursery, models=[model("cheap/m")], scripts=scripts, guardrails=guard)


@pytest.mark.parametrize("heal", [None, False])
@pytest.mark.parametrize(
    ("said", "given"),
    [
        ('{"card": 4111111111111111}', {"card": "<CARD>"}),
        ('{"to": "x\\nann@b.co"}', {"to": "x\n<EMAIL>"}),
    ],
)
async def test_what_is_redacted_leaves_json(
    autojump_clock: MockClock, nursery: trio.Nursery, said: str, given: Any, heal: bool | None
) -> None:
    answer = await house(nursery, says(said), CARD, EMAIL).ask(
        x_kairosroute={} if heal is None else {"heal": heal}, **OBJECT
    )
    assert json.loads(content(answer)) == given


async def test_what_was_healed_stays_so(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    answer = await house(nursery, says("{'card': 4111111111111111,}"), CARD).ask(**OBJECT)
    assert json.loads(content(answer)) == {"card": "<CARD>"}
    assert ours(answer)["healed"] is True


async def test_an_answer_that_is_text_is_edited_as_text(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    answer = await house(nursery, says('{"card": 4111111111111111}'), CARD).ask()
    assert content(answer) == '{"card": <CARD>}'


@pytest.mark.parametrize("heal", ["buffer", "stream", None, False])
async def test_an_original_with_quotes_is_put_back_into_json(
    autojump_clock: MockClock, nursery: trio.Nursery, heal: object
) -> None:
    fields: dict[str, Any] = {
        "messages": [{"role": "user", "content": 'I am nick "ann"'}],
        "x_kairosroute": {} if heal is None else {"heal": heal},
        **OBJECT,
    }
    said = '{"who": "<NICK_1>"}'
    answer = await house(nursery, says(said), NICK).ask(**fields)
    assert json.loads(content(answer)) == {"who": 'nick "ann"'}
    pieces = [event(chunk({"content": letter})) for letter in said]
    script = [(1.0, HEAD + event(ROLE) + b"".join(pieces)), (1.0, END)]
    heard = await listen(streamed(house(nursery, script, NICK), **fields))
    assert json.loads(heard.text) == {"who": 'nick "ann"'}
    assert "unhealed" not in heard.chunks[-1]["x_kairosroute"]


@pytest.mark.parametrize("heal", ["buffer", "stream"])
async def test_a_stream_that_was_redacted_says_so(
    autojump_clock: MockClock, nursery: trio.Nursery, heal: str
) -> None:
    pieces = [event(chunk({"content": piece})) for piece in ('{"card": ', NUMBER, ", }")]
    script = [(1.0, HEAD + event(ROLE) + b"".join(pieces)), (1.0, END)]
    one = house(nursery, script, CARD)
    heard = await listen(streamed(one, x_kairosroute={"heal": heal}, **OBJECT))
    assert NUMBER not in heard.text
    told = heard.chunks[-1]["x_kairosroute"]
    assert (told["healed"], told["unhealed"]) == (False, "redacted")
    assert one.receipts[0].execution.healed is False

"""The operator's rules and classifier on requests and answers, over scripted providers."""

import json
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from kproxy.admission.quota import Amount
from kproxy.api.guardrails import SMALL, Guardrails, Moderation
from kproxy.errors import Fault, FaultKind
from kproxy.guard.rules import make_rule, rulesets
from kproxy.outcome import Ending
from kproxy.schema.receipt import Fired
from tests.fakes.caller import chat, request
from tests.fakes.house import DEAR, KEY, House, Talking, model
from tests.fakes.scripted import Act, head, ok
from tests.fakes.stream import DONE, chunk, empty

MASK = make_rule("mask", (), name="", builtin="email", pattern=None)
CARD = make_rule("redact", (), name="", builtin="card", pattern=None)
WORDS = make_rule("block", (), name="words", builtin=None, pattern="forbidden")
USED = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
STREAM = head(200, b"content-type: text/event-stream", b"connection: close")


def guardrails(*rules: Any, moderation: Moderation | None = None) -> Guardrails:
    asked, answered = rulesets(rules)
    return Guardrails(asked, answered, moderation, trio.CapacityLimiter(1))


def said(text: str, **message: Any) -> list[tuple[float, bytes]]:
    reply = {
        "id": "c",
        "choices": [{"index": 0, "message": {"content": text, **message}, "finish_reason": "stop"}],
        "usage": USED,
    }
    return [(1.0, ok(json.dumps(reply).encode()))]


def streamed(*pieces: str) -> list[tuple[float, bytes]]:
    events = [chunk({"role": "assistant", "content": ""})]
    events += [chunk({"content": piece}) for piece in pieces]
    events += [chunk(finish="stop"), empty(usage=USED), DONE]
    return [(0.1, STREAM), *((0.1, event) for event in events)]


def user(*texts: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text} for text in texts]


def sent(house: House, provider: str = "cheap") -> list[str]:
    """The texts that the provider got."""
    body = house.providers[provider].connections[0].requests[0].partition(b"\r\n\r\n")[2]
    return [message["content"] for message in json.loads(body)["messages"]]


def housed(
    nursery: trio.Nursery, answer: Any, *rules: Any, moderation: Moderation | None = None
) -> House:
    guard = guardrails(*rules, moderation=moderation)
    return House(nursery, scripts={"cheap": [[answer]]}, guardrails=guard)


async def test_a_whole_answer_gets_the_originals_back(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    call = {"function": {"name": "mail", "arguments": '{"to":"<EMAIL_1>"}'}}
    house = housed(nursery, said("Write <EMAIL_1>", tool_calls=[call]), MASK, CARD)
    answer = await house.ask(messages=user("I am ann@b.co, 4111111111111111"))
    assert sent(house) == ["I am <EMAIL_1>, <CARD>"]
    message = answer.json()["choices"][0]["message"]
    assert message["content"] == "Write ann@b.co"
    assert json.loads(message["tool_calls"][0]["function"]["arguments"]) == {"to": "ann@b.co"}
    assert answer.json()["x_kairosroute"]["guardrails"] == [
        {"rule": "email", "action": "mask", "count": 1},
        {"rule": "card", "action": "redact", "count": 1},
    ]
    assert house.receipts[0].guardrails == (Fired("email", "mask", 1), Fired("card", "redact", 1))
    assert house.at_rest()


async def test_a_streamed_answer_gets_them_wherever_it_is_cut(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = housed(
        nursery, streamed("Write <EM", "AIL", "_1", "> or 4111 11", "11 1111 1111"), MASK, CARD
    )
    answer = await house.ask(stream=True, messages=user("I am ann@b.co"))
    assert answer.text == "Write ann@b.co or <CARD>"
    assert answer.data[-1] == "[DONE]"
    assert answer.chunks[-1]["x_kairosroute"]["guardrails"] == [
        {"rule": "email", "action": "mask", "count": 1},
        {"rule": "card", "action": "redact", "count": 1},
    ]
    assert house.at_rest()


async def test_what_no_rule_changes_passes_byte_for_byte(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = housed(nursery, streamed("One ", "two "), CARD)
    answer = await house.ask(stream=True, messages=user("Hello"))
    assert chunk({"content": "One "}) + chunk({"content": "two "}) in answer.body
    assert "guardrails" not in answer.chunks[-1]["x_kairosroute"]
    raw = b'[ {"role":"user",  "content":"Hi"} ]'
    body = chat().replace(b'[{"role": "user", "content": "Hello!"}]', raw)
    house = housed(nursery, said("Hi"), MASK)
    await house.send("POST", "/v1/chat/completions", f"authorization: Bearer {KEY}", body=body)
    assert raw in house.providers["cheap"].connections[0].requests[0]


async def test_a_blocked_request_costs_nothing_and_leaves_nothing(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = housed(nursery, said("never"), WORDS)
    answer = await house.ask(messages=user("a forbidden word"))
    assert answer.status == 400
    assert answer.error["code"] == "content_blocked"
    assert answer.error["param"] == "messages"
    assert "'words'" in answer.error["message"]
    assert "forbidden" not in answer.error["message"]
    assert house.providers["cheap"].connections == []
    assert house.receipts == []


async def test_a_blocked_answer_is_on_the_receipt_and_charged(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = housed(nursery, said("a forbidden word"), WORDS)
    answer = await house.ask(messages=user("Hello"))
    assert (answer.status, answer.error["code"]) == (400, "content_blocked")
    [receipt] = house.receipts
    assert receipt.guardrails == (Fired("words", "block", 1),)
    assert receipt.execution.status is Ending.REJECTED
    assert (receipt.execution.cost, receipt.execution.charged_tokens) == (2_000_000, 1500)
    assert house.limits.settled == [Amount(1500, 2_000_000)]
    assert house.at_rest()


@pytest.mark.parametrize("first", ["", "Well, "])
async def test_a_blocked_stream_ends_with_one_error_event(
    autojump_clock: MockClock, nursery: trio.Nursery, first: str
) -> None:
    house = housed(nursery, streamed(first + "a for", "bidden word", " and more"), WORDS)
    answer = await house.ask(stream=True, messages=user("Hello"))
    assert answer.status == 200
    assert not answer.whole
    assert answer.text == first + "a "
    assert json.loads(answer.data[-1])["error"]["code"] == "content_blocked"
    [receipt] = house.receipts
    assert receipt.guardrails == (Fired("words", "block", 1),)
    assert receipt.execution.status is Ending.REJECTED
    assert receipt.execution.charged_tokens > 0
    assert house.at_rest()


async def test_a_stream_that_is_blocked_before_its_first_token_is_a_400(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = housed(nursery, streamed("forbidden!"), WORDS)
    answer = await house.ask(stream=True, messages=user("Hello"))
    assert (answer.status, answer.error["code"]) == (400, "content_blocked")
    [receipt] = house.receipts
    assert receipt.guardrails == (Fired("words", "block", 1),)
    assert receipt.execution.charged_tokens > 0, "as a whole answer would be"
    assert house.limits.settled[0].tokens == receipt.execution.charged_tokens
    assert house.at_rest()


async def test_a_provider_s_own_refusal_is_not_charged(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    refusal = b'{"error":{"message":"no","code":"content_blocked"}}'
    house = housed(nursery, [(1.0, ok(refusal, 400))], WORDS)
    answer = await house.ask(messages=user("Hello"))
    assert (answer.status, house.receipts[0].execution.charged_tokens) == (400, 0)
    assert house.limits.settled == []


@pytest.mark.parametrize("stream", [False, True])
async def test_a_provider_s_refusal_gets_the_originals_back(
    autojump_clock: MockClock, nursery: trio.Nursery, stream: bool
) -> None:
    refusal = b'{"error":{"message":"bad value <EMAIL_1> or <EMAIL_2>","code":"x"}}'
    house = housed(nursery, [(1.0, ok(refusal, 400))], MASK)
    answer = await house.ask(messages=user("I am ann@b.co"), stream=stream)
    assert (answer.status, answer.error["message"]) == (400, "bad value ann@b.co or <EMAIL_2>")


async def test_an_answer_that_contradicts_itself_is_the_provider_s_fault(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    call = b'{"function":{"name":"f","arguments":"{}","arguments":"{}"}}'
    message = b'{"content":"x","tool_calls":[%b]}' % call
    body = b'{"choices":[{"index":0,"message":%b,"finish_reason":"stop"}]}' % message
    house = housed(nursery, [(1.0, ok(body))], CARD)
    answer = await house.ask(messages=user("Hello"))
    assert (answer.status, answer.error["code"]) == (503, "all_models_unavailable")
    [receipt] = house.receipts
    assert receipt.attempts[0].fault == FaultKind.BAD_BODY.value
    assert (receipt.execution.status, receipt.execution.charged_tokens) == (Ending.FAULT, 0)
    assert house.at_rest()


async def test_a_rescued_stream_says_what_was_withheld_where_it_broke(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:

    broken = [*streamed("Write <EM")[:3], (0.1, Act.RESET)]
    house = House(
        nursery,
        models=[model("cheap/m", prefill=True), model("dear/m", DEAR, prefill=True)],
        scripts={"cheap": [[broken]], "dear": [[streamed("AIL_1", "> soon")]]},
        guardrails=guardrails(MASK),
    )
    ours = {"rescue": True}
    answer = await house.ask(stream=True, messages=user("I am ann@b.co"), x_kairosroute=ours)
    assert answer.text == "Write ann@b.co soon"
    assert sent(house, "dear") == ["I am <EMAIL_1>", "Write <EM"]


async def test_long_texts_are_looked_at_in_a_thread(nursery: trio.Nursery) -> None:
    """On the real clock: a virtual one would jump while the thread works."""
    house = housed(nursery, [(0.0, said("<EMAIL_1>" + " " * SMALL)[0][1])], MASK)
    answer = await house.ask(messages=user("ann@b.co" + " " * SMALL))
    assert sent(house)[0].strip() == "<EMAIL_1>"
    assert answer.text.strip() == "ann@b.co"


async def test_without_rules_nobody_looks(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    house = House(nursery, scripts={"cheap": [[said("ann@b.co <EMAIL_1>")]]})
    answer = await house.ask(messages=user("4111111111111111"))
    assert (sent(house), answer.text) == (["4111111111111111"], "ann@b.co <EMAIL_1>")


class Classifier:
    """What it was asked, and what it says: bytes after a time, or a fault."""

    def __init__(self, says: bytes | Fault, after: float = 0.5) -> None:
        self.says, self.after = says, after
        self.asked: list[Any] = []
        self.noted: list[FaultKind] = []

    async def ask(self, body: bytes) -> bytes:
        self.asked.append(json.loads(body))
        await trio.sleep(self.after)
        if isinstance(self.says, Fault):
            raise self.says
        return self.says

    def moderation(self, **fields: Any) -> Moderation:
        usual = {"model": "m", "max_bytes": 1_000, "fails_open": False}
        note = lambda fault: self.noted.append(fault.kind)  # noqa: E731
        return Moderation(ask=self.ask, note=note, **usual | fields)


CLEAN = b'{"results":[{"flagged":false,"categories":{}}]}'
FLAGGED = b'{"results":[{"flagged":true,"categories":{"hate":true,"violence":false}}]}'


async def test_a_classifier_sees_what_the_provider_would(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    classifier = Classifier(CLEAN)
    house = housed(nursery, said("Hi"), MASK, moderation=classifier.moderation())
    answer = await house.ask(messages=user("I am ann@b.co", "Hello"))
    assert answer.status == 200
    assert classifier.asked == [{"input": "I am <EMAIL_1>\nHello", "model": "m"}]


async def test_what_is_flagged_is_blocked(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    house = housed(nursery, said("never"), moderation=Classifier(FLAGGED).moderation())
    answer = await house.ask(messages=user("bad"))
    assert (answer.status, answer.error["code"]) == (400, "content_blocked")
    assert answer.error["message"] == "The content was blocked by moderation (hate)."
    assert house.receipts == []


@pytest.mark.parametrize(
    ("says", "kind"),
    [(Fault(FaultKind.CONNECT, "refused"), FaultKind.CONNECT), (b"{}", FaultKind.BAD_BODY)],
)
@pytest.mark.parametrize(("fails_open", "status"), [(True, 200), (False, 503)])
async def test_a_classifier_that_fails(
    autojump_clock: MockClock,
    nursery: trio.Nursery,
    says: bytes | Fault,
    kind: FaultKind,
    fails_open: bool,
    status: int,
) -> None:
    classifier = Classifier(says)
    house = housed(nursery, said("Hi"), moderation=classifier.moderation(fails_open=fails_open))
    answer = await house.ask(messages=user("Hello"))
    assert answer.status == status
    assert classifier.noted == [kind]
    if not fails_open:
        assert answer.error["code"] == "moderation_unavailable"


@pytest.mark.parametrize(("fails_open", "status"), [(True, 200), (False, 400)])
async def test_what_is_too_long_to_be_asked(
    autojump_clock: MockClock, nursery: trio.Nursery, fails_open: bool, status: int
) -> None:
    classifier = Classifier(CLEAN)
    house = housed(nursery, said("Hi"), moderation=classifier.moderation(fails_open=fails_open))
    answer = await house.ask(messages=user("x" * 1_000))
    assert (answer.status, classifier.asked) == (status, [])


async def test_the_callers_deadline_bounds_the_classifier(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = housed(nursery, said("never"), moderation=Classifier(CLEAN, after=9).moderation())
    begun = trio.current_time()
    answer = await house.ask(messages=user("Hello"), x_kairosroute={"deadline_ms": 2_000})
    assert (answer.status, answer.error["code"]) == (504, "deadline_exceeded")
    assert trio.current_time() - begun == 2


async def test_a_caller_may_leave_while_the_classifier_thinks(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    classifier = Classifier(CLEAN, after=9)
    house = housed(nursery, said("never"), moderation=classifier.moderation())
    body = chat(messages=user("Hello"))
    talking = Talking(house, request("POST", "/v1/chat/completions",
                                     f"authorization: Bearer {KEY}", body=body))  # fmt: skip
    await trio.sleep(1)
    talking.link.close()
    await trio.sleep(20)
    assert len(classifier.asked) == 1
    assert house.providers["cheap"].connections == []


async def test_what_comes_behind_the_end_is_judged_as_well(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """All in one read: the answer is whole before it is adopted, and the head has not left."""
    late = b"".join(
        [chunk({"content": "One."}), chunk(finish="stop"), chunk({"content": "forbidden"})]
    )
    house = housed(nursery, [(0.1, STREAM), (0.1, late + DONE)], WORDS)
    answer = await house.ask(stream=True, messages=user("Hello"))
    assert (answer.status, answer.whole, answer.text) == (200, False, "One.")
    assert json.loads(answer.data[-1])["error"]["code"] == "content_blocked"
    assert house.at_rest()


async def test_each_answer_of_a_comparison_is_under_the_rules(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """One that a rule blocks is an entry, and charged: it was asked for, and written."""
    house = House(
        nursery,
        scripts={"cheap": [[said("Write <EMAIL_1>")]], "dear": [[said("forbidden")]]},
        guardrails=guardrails(MASK, WORDS),
    )
    answer = await house.ask(
        model="kr-compare",
        messages=user("I am ann@b.co"),
        x_kairosroute={"models": ["cheap/m", "dear/m"]},
    )
    first, second = answer.json()["choices"]
    assert first["message"]["content"] == "Write ann@b.co"
    assert second["x_kairosroute"]["error"]["code"] == "content_blocked"
    assert "forbidden" not in answer.body.decode()
    assert sent(house, "dear") == ["I am <EMAIL_1>"]
    assert house.receipts[0].execution.charged_tokens == 3000
    assert house.at_rest()

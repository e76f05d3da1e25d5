"""Whole messages and the completions that the caller gets for them."""

import json
from pathlib import Path
from typing import Any

import anthropic.types
import openai.types.chat
import pytest

from kproxy.dialect.anthropic.messages import Anthropic
from kproxy.dialect.anthropic.reply import completion
from kproxy.errors import Fault, FaultKind

GOLDEN = Path(__file__).parent.parent / "golden" / "replies"
NAMES = sorted(path.stem for path in GOLDEN.iterdir())


def answer(**fields: Any) -> bytes:
    golden = json.loads((GOLDEN / "text.json").read_text())
    return json.dumps(golden["anthropic"] | fields).encode()


@pytest.mark.parametrize("name", NAMES)
def test_golden_replies(name: str) -> None:
    golden = json.loads((GOLDEN / f"{name}.json").read_text())
    anthropic.types.Message.model_validate(golden["anthropic"])
    body = completion(json.dumps(golden["anthropic"]).encode(), 1_000)
    assert json.loads(body) == golden["openai"]
    openai.types.chat.ChatCompletion.model_validate_json(body, strict=True)
    facts = Anthropic().read_reply(body)
    assert facts.model == "claude-x"
    assert facts.usage is not None


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", FaultKind.BAD_BODY),
        (b"[]", FaultKind.BAD_BODY),
        (b"<html>", FaultKind.BAD_BODY),
        (b"[" * 100_000, FaultKind.BAD_BODY),
        (answer()[:-1], FaultKind.BAD_BODY),
        (answer(content=None), FaultKind.BAD_BODY),
        (answer(content=[{"text": "x"}]), FaultKind.BAD_BODY),
        (answer(content=[{"type": "text", "text": 5}]), FaultKind.BAD_BODY),
        (b'{"content":[],"usage":{"a":"\xff"}}', FaultKind.BAD_BODY),
        (b'{"type":"error","error":{"type":"api_error"}}', FaultKind.ERROR_EVENT),
    ],
)
def test_bodies_that_are_no_message(body: bytes, kind: FaultKind) -> None:
    with pytest.raises(Fault) as caught:
        completion(body, 0)
    assert caught.value.kind is kind


def test_a_message_that_does_not_say_why_it_stopped_is_not_whole() -> None:
    with pytest.raises(Fault) as caught:
        Anthropic().read_reply(completion(answer(stop_reason=None), 0))
    assert caught.value.kind is FaultKind.NO_CONTENT


def test_odd_counts_do_not_cost_the_answer() -> None:
    body = json.loads(completion(answer(usage={"input_tokens": "many"}), 0))
    assert "usage" not in body
    assert body["choices"][0]["message"]["content"]

"""One request and its answer under rules: what a provider sees, and what the caller gets."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from kproxy.errors import Fault, Rejected
from kproxy.guard.guarded import MAX_PIECE, MOST_STEPS, Guarded
from kproxy.guard.rules import make_rule, rulesets


def rule(action: str, builtin: str | None, *on: str, name: str = "", pattern: str | None = None):
    return make_rule(action, on, name=name, builtin=builtin, pattern=pattern)


RULES = rulesets([
    rule("mask", "email"),
    rule("redact", "card"),
    rule("block", "api-key"),
    rule("block", None, "response", name="words", pattern="(?i)forbidden"),
])  # fmt: skip
MASKS = rulesets([rule("mask", "email")])


def asked(guarded: Guarded, *texts: str) -> list[str]:
    messages = json.dumps([{"role": "user", "content": text} for text in texts]).encode()
    return [one["content"] for one in json.loads(bytes(guarded.messages(Raw(messages))))]


def answered(guarded: Guarded, text: str) -> str:
    body = json.dumps({"choices": [{"message": {"content": text}}]}).encode()
    content: str = json.loads(guarded.reply(body))["choices"][0]["message"]["content"]
    return content


def fired(guarded: Guarded) -> list[tuple[str, str, int]]:
    return sorted((one.rule, one.action, one.count) for one in guarded.fired)


def test_a_provider_sees_placeholders_and_the_caller_originals() -> None:
    guarded = Guarded(*RULES)
    assert asked(guarded, "From ann@b.co to bob@b.co", "ann@b.co: 4111111111111111") == [
        "From <EMAIL_1> to <EMAIL_2>", "<EMAIL_1>: <CARD>",
    ]  # fmt: skip
    assert answered(guarded, "<EMAIL_2> to <EMAIL_1>, <CARD>, <EMAIL_3>") == (
        "bob@b.co to ann@b.co, <CARD>, <EMAIL_3>"
    )
    assert fired(guarded) == [("card", "redact", 1), ("email", "mask", 3)]


def test_a_placeholder_that_the_caller_wrote_stays_theirs() -> None:
    guarded = Guarded(*MASKS)
    assert asked(guarded, "ann@b.co", r"as \<EMAIL_1> says") == [
        "<EMAIL_2>", r"as \<EMAIL_1> says",
    ]  # fmt: skip
    assert answered(guarded, "<EMAIL_1> <EMAIL_2>") == "<EMAIL_1> ann@b.co"


def test_what_is_masked_is_not_judged_in_the_answer() -> None:
    guarded = Guarded(
        *rulesets([rule("mask", "email"), rule("redact", "email", "response", name="e")])
    )
    asked(guarded, "ann@b.co")
    assert answered(guarded, "<EMAIL_1> and eve@x.org") == "ann@b.co and <E>"


def test_a_blocked_request_names_the_rule_and_not_the_text() -> None:
    key = "AKIAIOSFODNN7EXAMPLE"
    with pytest.raises(Rejected) as caught:
        asked(Guarded(*RULES), f"my key is {key}")
    refusal = caught.value
    assert (refusal.status, refusal.code, refusal.param) == (400, "content_blocked", "messages")
    assert "'api-key'" in refusal.message
    assert key not in refusal.message


def test_a_blocked_answer() -> None:
    with pytest.raises(Rejected, match="The answer was blocked by the rule 'words'"):
        answered(Guarded(*RULES), "This is Forbidden.")


def test_without_rules_for_it_nothing_is_touched() -> None:
    guarded = Guarded(*MASKS)
    assert guarded.editor() is None
    assert guarded.reply(b"no JSON") == b"no JSON"
    asked(guarded, "ann@b.co")
    assert guarded.editor() is not None
    messages = Raw(b"no JSON")
    assert Guarded(None, None).messages(messages) is messages


def streamed(editor: Any, pieces: list[str]) -> str:
    return "".join([editor.text(0, piece) for piece in pieces]) + editor.end(0, "stop")


ANSWER = "Dear <EMAIL_1>, pay 4111 1111 1111 1111 or ask <EMAIL_2>; <EMAIL_7> < <b> eve@x.org"


@given(st.lists(st.integers(0, len(ANSWER))))
def test_a_stream_cut_anywhere_says_what_the_whole_says(places: list[int]) -> None:
    guarded = Guarded(*RULES)
    asked(guarded, "ann@b.co bob@b.co")
    ends = sorted(set(places))
    pieces = [ANSWER[a:b] for a, b in zip([0, *ends], [*ends, len(ANSWER)], strict=True)]
    editor = guarded.editor()
    assert streamed(editor, pieces) == answered(guarded, ANSWER)


def test_each_choice_is_a_text_of_its_own() -> None:
    guarded = Guarded(*RULES)
    editor = guarded.editor()
    assert editor is not None
    assert editor.text(0, "4111 1111") + editor.text(1, "cat ") == "cat "
    assert editor.text(1, "4111") + editor.text(0, " 1111 1111.") == "<CARD>."
    assert editor.end(0, "stop") + editor.end(1, "stop") == "4111"


def test_a_stream_counts_once_it_is_the_callers() -> None:
    guarded = Guarded(*RULES)
    editor = guarded.editor()
    assert editor is not None
    streamed(editor, ["4111 1111", " 1111 1111"])
    assert guarded.fired == ()
    guarded.adopt(editor)
    assert fired(guarded) == [("card", "redact", 1)]


@pytest.mark.parametrize("cut", [0, 3, 9])
def test_a_blocking_rule_ends_a_stream(cut: int) -> None:
    editor = Guarded(*RULES).editor()
    with pytest.raises(Rejected, match="'words'"):
        streamed(editor, ["forbidden"[:cut], "forbidden"[cut:]])


def test_a_piece_that_is_too_large_to_be_looked_at_is_a_fault() -> None:
    editor = Guarded(*RULES).editor()
    assert editor is not None
    editor.text(0, " " * MAX_PIECE)
    with pytest.raises(Fault, match="too much"):
        editor.text(0, " " * (MAX_PIECE + 1))


def test_a_piece_with_too_many_matches_is_one_as_well() -> None:
    editor = Guarded(*RULES).editor()
    assert editor is not None
    almost = "4111 1111 1111 1112 " * MOST_STEPS + "."  # what only looks like a card counts
    assert editor.text(0, almost) == almost
    with pytest.raises(Fault, match="too much"):
        editor.text(0, "4111111111111111 " * (MOST_STEPS + 1))


def test_a_stream_that_goes_on_says_what_was_withheld() -> None:
    guarded = Guarded(*RULES)
    asked(guarded, "ann@b.co")
    first = guarded.editor()
    assert first is not None
    assert first.text(0, "4111 1111 1111 1111 is of <EMA") == "<CARD> is of "
    guarded.adopt(first)
    for _ in range(2):  # two that try, of which one is adopted
        second = guarded.editor(goes_on=True)
        assert second is not None
        assert second.text(0, "IL_1>, 4111 1111") == "ann@b.co, "
        assert second.end(0, "stop") == "4111 1111"
    assert first.end(0, "stop") == "<EMA"
    assert fired(guarded) == [("card", "redact", 1), ("email", "mask", 1)]

"""A conversation is known by its exact turns, and nobody else's is taken for it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.routing.conversation import KEPT, MOST, Conversations, Turn, turn_of
from kproxy.schema.chat import decode_chat
from kproxy.schema.jsonlimits import JsonLimits

HELLO = {"role": "user", "content": "Hello"}
HI = {"role": "assistant", "content": "Hi"}
MORE = {"role": "user", "content": "And?"}


def turn(*messages: dict[str, str], account: str = "acct_1") -> Turn:
    body = {"model": "auto", "messages": messages}
    return turn_of(decode_chat(json.dumps(body).encode(), JsonLimits()), account)


def test_the_next_turn_holds_the_one_before() -> None:
    assert turn(HELLO).before is None
    assert turn(HELLO, HI, MORE).before == turn(HELLO).now
    assert turn(HELLO, HI, MORE, HI, MORE).before == turn(HELLO, HI, MORE).now


def test_what_a_tool_has_said_belongs_to_the_next_turn() -> None:
    tool = {"role": "tool", "content": "42", "tool_call_id": "x"}
    assert turn(HELLO, HI, tool, tool).before == turn(HELLO).now


@pytest.mark.parametrize(
    "other",
    [
        turn({"role": "user", "content": "Hello!"}),
        turn(MORE, HELLO),
        turn(HELLO, account="acct_2"),
        turn({"role": "system", "content": ""}, HELLO),
    ],
)
def test_another_beginning_is_another_conversation(other: Turn) -> None:
    assert turn(HELLO, HI, MORE).before != other.now


@given(st.lists(st.sampled_from(["user", "tool", "assistant"]), min_size=1, max_size=12))
def test_any_conversation_names_its_own_turn(roles: list[str]) -> None:
    messages = [{"role": role, "content": str(at)} for at, role in enumerate(roles)]
    found = turn(*messages)
    if "assistant" in roles[1:]:
        last = max(at for at, role in enumerate(roles) if role == "assistant")
        assert found.before == turn(*messages[:last]).now
    assert found.now == turn(*messages).now


def test_a_long_message_is_known_by_its_ends_and_its_length() -> None:
    long = "a" * 100_000
    first = {"role": "user", "content": long}
    assert turn(first, HI, MORE).before == turn(first).now
    for other in (long + "a", "b" + long[1:], long[:-1] + "b"):
        assert turn({"role": "user", "content": other}).now != turn(first).now


def test_who_answered_is_remembered_for_an_hour() -> None:
    kept = Conversations()
    kept.answered(turn(HELLO), "acme/m", 10.0)
    after = turn(HELLO, HI, MORE)
    assert kept.route(after, 10.0 + KEPT) == "acme/m"
    assert kept.route(after, 10.1 + KEPT) is None
    assert kept.route(turn(HELLO), 11.0) is None


def test_the_oldest_is_forgotten_first() -> None:
    kept = Conversations()
    turns = [Turn(None, at.to_bytes(4, "big")) for at in range(MOST + 1)]
    for one in turns[:-1]:
        kept.answered(one, "acme/m", 0.0)
    kept.answered(turns[0], "acme/n", 1.0)  # again, so it is not the oldest
    kept.answered(turns[-1], "acme/m", 1.0)
    assert kept.route(Turn(turns[0].now, b""), 1.0) == "acme/n"
    assert kept.route(Turn(turns[1].now, b""), 1.0) is None
    assert kept.route(Turn(turns[-1].now, b""), 1.0) == "acme/m"

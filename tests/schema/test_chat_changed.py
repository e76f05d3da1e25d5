"""A request that plugins change, and the name that a caller gives to whom it asks for."""

import json

import msgspec
import pytest

from kproxy.errors import Rejected
from kproxy.schema.chat import ChatCall, decode_chat
from kproxy.schema.jsonlimits import JsonLimits


def decode(body: bytes) -> ChatCall:
    return decode_chat(body, JsonLimits())


def request(**fields: object) -> bytes:
    hello = [{"role": "user", "content": "hello"}]
    return json.dumps({"model": "auto", "messages": hello, **fields}).encode()


@pytest.mark.parametrize(("given", "user"), [({}, ""), ({"user": None}, ""), ({"user": "u"}, "u")])
def test_the_callers_name_for_its_user(given: dict[str, object], user: str) -> None:
    assert decode(request(**given)).user == user


@pytest.mark.parametrize("user", [1, "u" * 257, ["u"], {}])
def test_a_user_that_is_none_is_named(user: object) -> None:
    with pytest.raises(Rejected) as caught:
        decode(request(user=user)).user  # noqa: B018
    assert (caught.value.status, caught.value.param) == (400, "user")


def test_changed_members_are_read_anew() -> None:
    call = decode(request(user="u"))
    messages = msgspec.Raw(b'[{"role":"user","content":"other"}]')
    tools = msgspec.Raw(b'[{"type":"function","function":{"name":"run"}}]')
    changed = call.changed(messages, tools)
    assert changed.request.messages[0].content == "other"
    assert changed.request.needs_tools
    assert (changed.fields["messages"], changed.fields["user"]) == (messages, call.fields["user"])
    assert "tools" not in call.fields
    assert call.changed() == call

"""The rows of providers that differ, and what a request becomes by them."""

import json
from typing import Any

import msgspec
import pytest

from kproxy.dialect.openai import OpenAI
from kproxy.dialect.quirks import IDLE, NONE, QUIRKS, quirks_of
from kproxy.errors import NotCarried

HELLO = [{"role": "user", "content": "Hello"}]


def sent(host: str, *, stream: bool = False, **fields: Any) -> Any:
    members = msgspec.json.decode(json.dumps(fields).encode(), type=dict[str, msgspec.Raw])
    return json.loads(OpenAI(quirks_of(host)).encode(members, "m", stream))


def test_most_addresses_have_none() -> None:
    assert quirks_of("127.0.0.1") is NONE
    assert NONE.is_empty
    assert not any(row.is_empty for row in QUIRKS.values())
    assert quirks_of("API.OpenAI.com") is QUIRKS["api.openai.com"]


@pytest.mark.parametrize("host", sorted(QUIRKS))
def test_a_row_says_one_thing_of_a_member(host: str) -> None:
    row = QUIRKS[host]
    names = [*row.renamed, *row.dropped, *row.refused]
    assert len(names) == len(set(names))
    assert row.refused <= set(IDLE)


@pytest.mark.parametrize(
    ("host", "given", "wanted"),
    [
        ("api.openai.com", {"max_tokens": 5}, {"max_completion_tokens": 5}),
        (
            "api.openai.com",
            {"max_tokens": 5, "max_completion_tokens": 6},
            {"max_completion_tokens": 6},
        ),
        ("api.mistral.ai", {"max_completion_tokens": 5, "seed": 1, "store": True},
         {"max_tokens": 5, "random_seed": 1}),
        ("api.groq.com", {"logprobs": False, "n": 1, "logit_bias": {}, "top_logprobs": None}, {}),
        ("generativelanguage.googleapis.com", {"seed": 1, "frequency_penalty": 0}, {}),
    ],
)  # fmt: skip
def test_members(host: str, given: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert sent(host, **given) == {"model": "m"} | wanted


@pytest.mark.parametrize(
    ("host", "name", "value"),
    [
        ("api.groq.com", "n", 2),
        ("api.groq.com", "logprobs", True),
        ("generativelanguage.googleapis.com", "frequency_penalty", 0.5),
    ],
)
def test_what_would_be_lost_is_named(host: str, name: str, value: Any) -> None:
    with pytest.raises(NotCarried) as caught:
        sent(host, **{name: value})
    assert caught.value.param == name
    fields = {name: msgspec.Raw(msgspec.json.encode(value))}
    beforehand = OpenAI(quirks_of(host)).refuses(fields)
    assert beforehand is not None
    assert beforehand.param == name
    assert OpenAI(quirks_of(host)).refuses({name: msgspec.Raw(b"null")}) is None
    assert OpenAI(quirks_of("api.openai.com")).refuses(fields) is None


def test_who_tells_the_usage_anyway_is_not_asked() -> None:
    asked = {"include_usage": True}
    assert "stream_options" not in sent("api.mistral.ai", stream=True, stream_options=asked)
    assert sent("api.groq.com", stream=True)["stream_options"] == asked


@pytest.mark.parametrize(
    ("last", "marked"),
    [
        ({"role": "assistant", "content": "One,"}, True),
        ({"role": "assistant", "content": "One,", "prefix": False}, False),
        ({"role": "assistant", "tool_calls": []}, False),
        ({"role": "user", "content": "Hello"}, False),
    ],
)
def test_a_prefill_is_marked_where_it_must_be(last: dict[str, Any], marked: bool) -> None:
    messages = [*HELLO, last]
    wanted = [*HELLO, last | {"prefix": True}] if marked else messages
    assert sent("api.mistral.ai", messages=messages)["messages"] == wanted
    assert sent("api.openai.com", messages=messages)["messages"] == messages

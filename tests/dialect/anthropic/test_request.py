"""Requests in OpenAI's form and what goes to Anthropic for them; what cannot go, by name."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pydantic
import pytest
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming as Params
from hypothesis import given
from hypothesis import strategies as st

from kproxy.dialect.anthropic.request import (
    DEFAULT_MAX_TOKENS,
    DROPPED,
    EFFORT_MODELS,
    PASSED,
    REFUSED,
    TRANSLATED,
    UNSAMPLED_MODELS,
    build,
    refused,
)
from kproxy.dialect.openai import OURS
from kproxy.errors import NotCarried, Rejected
from kproxy.schema.chat import decode_chat
from kproxy.schema.jsonlimits import JsonLimits

GOLDEN = Path(__file__).parent.parent / "golden" / "requests"
NAMES = sorted(path.stem for path in GOLDEN.iterdir())
HELLO = [{"role": "user", "content": "Hello"}]


def sent(
    request: dict[str, Any], *, model: str = "claude-x", limit: int | None = 64_000, **fields: Any
) -> Any:
    body = json.dumps(request | fields).encode()
    members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    return json.loads(build(members, model, bool(fields.get("stream")), limit))


@pytest.mark.parametrize("name", NAMES)
def test_golden_conversations(name: str) -> None:
    golden = json.loads((GOLDEN / f"{name}.json").read_text())
    assert sent(golden["openai"]) == golden["anthropic"]


@pytest.mark.parametrize("name", NAMES)
def test_the_official_client_has_these_types(name: str) -> None:
    golden = json.loads((GOLDEN / f"{name}.json").read_text())
    sampling = ("temperature", "top_k")  # which it takes no more, but for who has them still
    body = {key: value for key, value in golden["anthropic"].items() if key not in sampling}
    Params.__pydantic_config__ = {"extra": "forbid"}  # type: ignore[attr-defined]
    pydantic.TypeAdapter(Params).validate_python(body)


def test_a_stream_is_asked_for() -> None:
    assert sent({"messages": HELLO}, stream=True)["stream"] is True
    assert "stream" not in sent({"messages": HELLO}, stream=False)


@pytest.mark.parametrize(
    ("fields", "limit", "wanted"),
    [
        ({}, 8_192, 8_192),
        ({}, None, DEFAULT_MAX_TOKENS),
        ({"max_tokens": 5}, 8_192, 5),
        ({"max_completion_tokens": 6}, 8_192, 6),
        ({"max_tokens": 7, "max_completion_tokens": None}, None, 7),
    ],
)
def test_how_much_it_may_write(fields: dict[str, Any], limit: int | None, wanted: int) -> None:
    assert sent({"messages": HELLO}, limit=limit, **fields)["max_tokens"] == wanted


@pytest.mark.parametrize(("given", "said"), [(0, 0), (0.9, 0.9), (1, None), (1.7, None)])
def test_temperature_ends_at_one(given: float, said: float | None) -> None:
    assert sent({"messages": HELLO}, temperature=given).get("temperature") == said


@pytest.mark.parametrize(
    ("model", "sampled"),
    [
        ("claude-sonnet-4-20250514", True),
        ("claude-sonnet-4-6", True),
        ("claude-opus-4-7", False),
        ("claude-sonnet-5-5", False),
        ("any-other", True),
    ],
)
def test_some_models_take_no_sampling(model: str, sampled: bool) -> None:
    body = sent({"messages": HELLO}, model=model, temperature=0.5, top_p=0.5, stop="x")
    assert ("temperature" in body, "top_p" in body) == (sampled, sampled)
    assert body["stop_sequences"] == ["x"]


@pytest.mark.parametrize(
    ("model", "effort", "said"),
    [
        ("claude-opus-4-6", "low", "low"),
        ("claude-opus-4-7-20260101", "minimal", "low"),
        ("claude-sonnet-4-6", "xhigh", "high"),
        ("claude-sonnet-4-6", "none", None),
        ("claude-haiku-5-5", "medium", "medium"),
        ("claude-haiku-4-5", "high", None),
        ("claude-sonnet-4-20250514", "high", None),
    ],
)
def test_effort_where_the_model_is_known_to_take_it(
    model: str, effort: str, said: str | None
) -> None:
    body = sent({"messages": HELLO}, model=model, reasoning_effort=effort)
    assert body.get("output_config", {}).get("effort") == said
    assert "reasoning_effort" not in body
    assert "thinking" not in body


def test_the_callers_own_output_config_stays() -> None:
    schema = {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}
    body = sent({"messages": HELLO}, output_config={"effort": "max"}, response_format=schema)
    assert body["output_config"] == {
        "effort": "max",
        "format": {"type": "json_schema", "schema": {"type": "object"}},
    }


def test_a_safety_identifier_stands_for_the_user() -> None:
    assert sent({"messages": HELLO}, safety_identifier="s")["metadata"] == {"user_id": "s"}
    both = sent({"messages": HELLO}, safety_identifier="s", user="u")
    assert both["metadata"] == {"user_id": "u"}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_has_no_counterpart_is_named(name: str) -> None:
    with pytest.raises(NotCarried) as caught:
        sent({"messages": HELLO}, **{name: {"some": "wish"}})
    assert (caught.value.status, caught.value.param) == (400, name)
    for idle in (*REFUSED[name], None):
        assert name not in sent({"messages": HELLO}, **{name: idle})


def test_ours_and_the_dropped_never_go_up() -> None:
    nothing = {name: {"a": 1} for name in (*OURS, *DROPPED)}
    assert set(sent({"messages": HELLO}, **nothing)) == {"model", "max_tokens", "messages"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("system", "Write to ann@example.org"),
        ("stop_sequences", ["x"]),
        ("speed", "fast"),
        ("inference_geo", "us"),
        ("mcp_servers", [{"url": "https://a.example"}]),
        ("container", "c"),
        ("something_new", 1),
    ],
)
def test_what_nobody_here_has_read_is_named(name: str, value: Any) -> None:
    with pytest.raises(NotCarried) as caught:
        sent({"messages": HELLO}, **{name: value})
    assert caught.value.param == name
    assert name not in sent({"messages": HELLO}, **{name: None})


def test_an_output_config_says_the_effort_alone() -> None:
    with pytest.raises(NotCarried) as caught:
        sent({"messages": HELLO}, output_config={"effort": "max", "format": {"schema": {}}})
    assert caught.value.param == "output_config.format"


def test_anthropics_own_members_pass() -> None:
    own = {"thinking": {"type": "enabled", "budget_tokens": 1_024}, "top_k": 5}
    assert own.keys() == PASSED
    assert own.items() <= sent({"messages": HELLO}, **own).items()


def test_the_lists_do_not_overlap() -> None:
    assert not DROPPED & set(REFUSED)
    assert not OURS & (DROPPED | set(REFUSED))
    assert all(name.startswith("claude-") for name in (*EFFORT_MODELS, *UNSAMPLED_MODELS))


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"type": "json_object"}, "response_format"),
        ({"type": "grammar"}, "response_format"),
        ({"type": "json_schema"}, "response_format.json_schema.schema"),
        (
            {"type": "json_schema", "json_schema": {"name": "x"}},
            "response_format.json_schema.schema",
        ),
    ],
)
def test_formats_that_cannot_be_kept(given: dict[str, Any], param: str) -> None:
    with pytest.raises(NotCarried) as caught:
        sent({"messages": HELLO}, response_format=given)
    assert caught.value.param == param


def test_text_is_no_format() -> None:
    assert "output_config" not in sent({"messages": HELLO}, response_format={"type": "text"})


@pytest.mark.parametrize(
    ("name", "value"), [("top_p", "much"), ("output_config", 5), ("tools", {}), ("messages", "x")]
)
def test_wrong_types_are_named(name: str, value: Any) -> None:
    with pytest.raises(NotCarried) as caught:
        sent({"messages": HELLO} | {name: value})
    assert caught.value.param == name


WORDS = st.sampled_from(
    ["type", "function", "text", "role", "content", "name", "json_schema", "schema", "user",
     "tool", "assistant", "tool_calls", "image_url", "file", "arguments", "url", "file_data",
     "data:,", "{}"]
)  # fmt: skip
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.floats(0, 2) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)
PARTS = st.lists(st.fixed_dictionaries({"type": WORDS}, optional={"text": WORDS, "file": ANYTHING}))
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "tool", "system"])},
        optional={"content": PARTS | ANYTHING, "tool_calls": ANYTHING, "function_call": ANYTHING},
    ),
    min_size=1,
    max_size=3,
)


@given(
    st.dictionaries(st.sampled_from(sorted(TRANSLATED | set(REFUSED))), ANYTHING, max_size=3),
    MESSAGES,
)
def test_whatever_passes_as_a_request_is_said_or_named(fields: Any, messages: Any) -> None:
    body = json.dumps(fields | {"model": "m", "messages": messages}).encode()
    try:
        call = decode_chat(body, JsonLimits())
    except Rejected:
        return
    named: NotCarried | None = None
    try:
        sent_body = build(call.fields, "claude-x", False, None)
    except NotCarried as error:
        named = error
    assert named.param if named else json.loads(sent_body)["messages"]
    beforehand = refused(call.fields)
    assert (beforehand and beforehand.param) == (named and named.param)

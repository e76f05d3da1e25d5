"""What passes, what does not and under which name, and that the raw members are the request."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kproxy.errors import Rejected
from kproxy.schema.chat import ChatCall, decode_chat
from kproxy.schema.jsonlimits import JsonLimits

LIMITS = JsonLimits()
HELLO = [{"role": "user", "content": "hello"}]


def decode(body: bytes) -> ChatCall:
    return decode_chat(body, LIMITS)


def request(**fields: object) -> bytes:
    return json.dumps({"model": "auto", "messages": HELLO, **fields}).encode()


def refused(body: bytes, limits: JsonLimits = LIMITS) -> Rejected:
    with pytest.raises(Rejected) as caught:
        decode_chat(body, limits)
    assert (caught.value.status, caught.value.code) == (400, "invalid_request_error")
    return caught.value


def test_the_seeds_request() -> None:
    call = decode(
        request(temperature=0.7, max_tokens=500, plugins=["web-search"], stream=True, top_k=40)
    )
    assert call.request.model == "auto"
    assert call.request.messages[0].content == "hello"
    assert call.request.temperature == 0.7
    assert call.request.output_limit == 500
    assert call.request.plugins == ["web-search"]
    assert call.request.stream is True
    assert list(call.fields)[-1] == "top_k"
    assert bytes(call.fields["top_k"]) == b"40"
    assert call.prompt == json.dumps(HELLO).encode()


def test_every_optional_field_may_be_null() -> None:
    names = decode(request()).request.__struct_fields__
    nulls = {name: None for name in names if name not in ("model", "messages")}
    assert decode(request(**nulls)).request == decode(request()).request


def test_members_keep_their_bytes_and_order() -> None:
    body = b' { "seed" : 1.50 , "model":"a\\u0062", "messages" :[{"role":"user"} ],"z":{ } }\n'
    fields = decode(body).fields
    assert [(name, bytes(value)) for name, value in fields.items()] == [
        ("seed", b"1.50"),
        ("model", b'"a\\u0062"'),
        ("messages", b'[{"role":"user"} ]'),
        ("z", b"{ }"),
    ]


WRONG_FIELDS: list[tuple[dict[str, object], str]] = [
    ({"temperature": -0.1}, "temperature"),
    ({"temperature": 2.1}, "temperature"),
    ({"temperature": "1"}, "temperature"),
    ({"temperature": True}, "temperature"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": 1.5}, "max_tokens"),
    ({"max_tokens": 2**31}, "max_tokens"),
    ({"max_completion_tokens": 0}, "max_completion_tokens"),
    ({"n": 0}, "n"),
    ({"n": 129}, "n"),
    ({"stream": "yes"}, "stream"),
    ({"stream": 1}, "stream"),
    ({"stream_options": []}, "stream_options"),
    ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
    ({"messages": []}, "messages"),
    ({"messages": {}}, "messages"),
    ({"messages": None}, "messages"),
    ({"messages": ["hi"]}, "messages[0]"),
    ({"messages": [{}]}, "messages[0].role"),
    ({"messages": [{"role": None}]}, "messages[0].role"),
    ({"messages": [*HELLO, {"role": "user", "content": 4}]}, "messages[1].content"),
    ({"messages": [{"role": "user", "content": ["a"]}]}, "messages[0].content[0]"),
    ({"messages": [{"role": "user", "content": [{}]}]}, "messages[0].content[0].type"),
    (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]},
        "messages[0].content[0].text",
    ),
    ({"messages": [{"role": "tool", "tool_call_id": 7}]}, "messages[0].tool_call_id"),
    (
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": {}}}]}]},
        "messages[0].tool_calls[0].function.arguments",
    ),
    ({"tools": {}}, "tools"),
    ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
    ({"functions": [{"name": 1}]}, "functions[0].name"),
    ({"response_format": "json"}, "response_format"),
    ({"response_format": {}}, "response_format.type"),
    ({"plugins": "web-search"}, "plugins"),
    ({"plugins": [1]}, "plugins[0]"),
    ({"data_collection": "maybe"}, "data_collection"),
    ({"zdr": "true"}, "zdr"),
    ({"preferred_max_latency": 0}, "preferred_max_latency"),
    ({"preferred_min_throughput": -1}, "preferred_min_throughput"),
    ({"min_quantization": "fp4"}, "min_quantization"),
    ({"max_quantization": 8}, "max_quantization"),
    ({"x_kairosroute": []}, "x_kairosroute"),
    ({"x_kairosroute": {"strategy": "fast"}}, "x_kairosroute.strategy"),
    ({"x_kairosroute": {"deadline_ms": 0}}, "x_kairosroute.deadline_ms"),
    ({"x_kairosroute": {"deadline_ms": 86_400_001}}, "x_kairosroute.deadline_ms"),
    ({"x_kairosroute": {"first_token_ms": "1"}}, "x_kairosroute.first_token_ms"),
    ({"x_kairosroute": {"max_cost_usd": -0.01}}, "x_kairosroute.max_cost_usd"),
    ({"x_kairosroute": {"models": []}}, "x_kairosroute.models"),
    ({"x_kairosroute": {"models": ["a"] * 101}}, "x_kairosroute.models"),
    ({"x_kairosroute": {"models": [1]}}, "x_kairosroute.models[0]"),
    ({"x_kairosroute": {"rescue": 1}}, "x_kairosroute.rescue"),
    ({"x_kairosroute": {"explain": "yes"}}, "x_kairosroute.explain"),
    ({"x_kairosroute": {"max_cost": 1}}, "x_kairosroute.max_cost"),
    ({"model": ""}, "model"),
    ({"model": None}, "model"),
    ({"model": 4}, "model"),
    ({"model": "a\n"}, "model"),
    ({"model": "a\x7f"}, "model"),
    ({"model": "a" * 257}, "model"),
]


@pytest.mark.parametrize(("fields", "param"), WRONG_FIELDS, ids=lambda value: str(value)[:40])
def test_a_wrong_field_is_named(fields: dict[str, object], param: str) -> None:
    rejected = refused(request(**fields))
    assert rejected.param == param
    assert f"'{param}'" in rejected.message
    assert "`" not in rejected.message
    assert len(rejected.message) < 600


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 0},
        {"temperature": 2},
        {"max_tokens": 1},
        {"max_tokens": 2**31 - 1},
        {"n": 128},
        {"model": "a" * 256},
        {"model": "日本/モデル"},
        {"messages": [{"role": "narrator", "content": None, "mood": "new"}]},
        {"messages": [{"role": "user", "content": [{"type": "hologram", "data": 1}]}]},
        {"tools": [{"type": "custom", "custom": {"name": "x"}}]},
        {"response_format": {"type": "grammar"}},
        {"x_kairosroute": {}},
        {"x_kairosroute": {"models": ["a"] * 100, "heal": "buffer", "deadline_ms": 0.5}},
        {"unknown": {"deep": [1, {"er": None}]}},
        {"logit_bias": {str(number): 1 for number in range(3000)}},
    ],
    ids=lambda value: str(value)[:40],
)
def test_accepted(fields: dict[str, object]) -> None:
    decode(request(**fields))


@pytest.mark.parametrize("missing", ["model", "messages"])
def test_a_missing_field_is_named(missing: str) -> None:
    fields = {"model": "auto", "messages": HELLO}
    del fields[missing]
    rejected = refused(json.dumps(fields).encode())
    assert (rejected.param, rejected.message) == (missing, f"Missing required field '{missing}'.")


def test_an_echoed_value_is_cut() -> None:
    rejected = refused(request(data_collection="x - at `$.zdr`" * 9999))
    assert "expected one of 'allow', 'deny', got 'x" in rejected.message
    assert rejected.param == "data_collection"
    assert len(rejected.message) < 500


START = b'{"model":"auto","messages":[{"role":"user"}],"x":'
MALFORMED = {
    "empty": b"",
    "blank": b" \r\n",
    "not json": b"hello",
    "array": b"[]",
    "string": b'"a"',
    "null": b"null",
    "cut": START,
    "no value": START + b"}",
    "trailing comma": START + b"1,}",
    "trailing bytes": START + b"1} 2",
    "byte order mark": b"\xef\xbb\xbf" + START + b"1}",
    "latin 1": START + b'"\xe9"}',
    "utf-8 surrogate": START + b'"\xed\xa0\x80"}',
    "overlong": START + b'"\xc0\x80"}',
    "utf-8 in a name": b'{"\xff":1}',
    "lone surrogate": START + b'"\\ud800"}',
    "lone low surrogate": START + b'"\\udc00"}',
    "surrogate and letter": START + b'"\\ud800\\u0041"}',
    "surrogate in a name": START + b'{"\\ud800":1}}',
    "control character": START + b'"\x01"}',
    "bad escape": START + b'"\\x41"}',
    "NaN": START + b"NaN}",
    "Infinity": START + b"-Infinity}",
    "infinite": START + b"1e999}",
    "leading zero": START + b"01}",
    "leading plus": START + b"+1}",
    "no fraction": START + b"1.}",
    "deep": START + b"[" * 64 + b"]" * 64 + b"}",
    "very deep": START + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "digits": START + b"1" * 65 + b"}",
    "comment": START + b"1 /* one */}",
    "single quotes": START + b"'a'}",
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed(body: bytes) -> None:
    rejected = refused(body)
    assert rejected.param is None
    assert rejected.message.startswith("The request body is not")


def test_without_a_depth_limit_the_parsers_own_end_is_caught() -> None:
    refused(START + b"[" * 100_000 + b"]" * 100_000 + b"}", JsonLimits(depth=10**6, values=10**6))


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"model":"a","model":"a"}', "model"),
        (b'{"model":"a","x":1,"model":"b"}', "model"),
        (b'{"x":1,"x":1,"y":2}', "x"),
        (b'{"x":1,"x":12}', "x"),
        (b'{"x":12,"x":1}', "x"),
        (b'{"x":1,"y":2,"\\u0078":1}', "x"),
        (b'{"\\u0078":1,"x":1}', "x"),
        (b'{"x":[1,2],"y":0 , "x" :[1,2]}', "x"),
        (b'{"":1,"":1}', ""),
        (b'{"x":"a","x":"a,"}', "x"),
        (b'{"x":1, "x" : 1 }', "x"),
    ],
)
def test_a_name_given_twice(body: bytes, param: str) -> None:
    rejected = refused(body)
    assert rejected.param == param
    assert "more than once" in rejected.message


def test_names_that_only_look_alike() -> None:
    body = START + b'1,"X":1,"x ":2,"\\"x":3,"x\\\\":{"x":1,"x":2}}'
    assert list(decode(body).fields)[2:] == ["x", "X", "x ", '"x', "x\\"]


def test_messages_at_the_limit_and_one_past() -> None:
    limits = JsonLimits(messages=3)
    assert len(decode_chat(request(messages=HELLO * 3), limits).request.messages) == 3
    assert refused(request(messages=HELLO * 4), limits).param == "messages"


@pytest.mark.parametrize(
    ("fields", "needs"),
    [
        ({}, (False, False, False)),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, (True, False, False)),
        ({"functions": [{"name": "f"}]}, (True, False, False)),
        ({"tools": []}, (False, False, False)),
        ({"response_format": {"type": "json_object"}}, (False, False, True)),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, (False, False, True)),
        ({"response_format": {"type": "text"}}, (False, False, False)),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            (False, True, False),
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "image_url"}]}]},
            (False, False, False),
        ),
    ],
)
def test_needs(fields: dict[str, object], needs: tuple[bool, bool, bool]) -> None:
    asked = decode(request(**fields)).request
    assert (asked.needs_tools, asked.needs_vision, asked.needs_json) == needs


def test_small_properties() -> None:
    plain = decode(request()).request
    assert (plain.include_usage, plain.output_limit) == (False, None)
    assert plain.extension.strategy is None
    full = decode(
        request(
            stream_options={"include_usage": True},
            max_tokens=5,
            max_completion_tokens=7,
            x_kairosroute={"strategy": "race"},
        )
    ).request
    assert (full.include_usage, full.output_limit) == (True, 7)
    assert full.extension.strategy == "race"


def test_the_prompt_has_the_tools_in_it() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    call = decode(request(tools=tools))
    assert call.prompt == json.dumps(HELLO).encode() + json.dumps(tools).encode()


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)
OURS = frozenset(decode(request()).request.__struct_fields__)


@settings(deadline=None)
@given(
    st.dictionaries(st.text(max_size=8).filter(lambda name: name not in OURS), JSON, max_size=5),
    st.booleans(),
    st.sampled_from([None, 1]),
)
def test_the_members_rejoined_are_the_same_request(
    extra: dict[str, object], ascii_only: bool, indent: int | None
) -> None:
    sent = {"model": "auto", **extra, "messages": HELLO}
    body = json.dumps(sent, ensure_ascii=ascii_only, indent=indent).encode()
    fields = decode(body).fields
    joined = b",".join(
        msgspec.json.encode(name) + b":" + bytes(value) for name, value in fields.items()
    )
    assert json.loads(b"{" + joined + b"}") == json.loads(body)
    assert list(fields) == list(sent)
    assert all(bytes(value) in body for value in fields.values())


def no_constant(name: str) -> object:
    raise ValueError(name)


def check_total(body: bytes) -> None:
    """Only Rejected is raised, and what passes is strict JSON to another parser too."""
    try:
        call = decode(body)
    except Rejected as rejected:
        assert rejected.status == 400  # noqa: PT017
        return
    parsed = json.loads(body.decode(), parse_constant=no_constant)
    json.dumps(parsed, ensure_ascii=False, allow_nan=False).encode()
    assert list(parsed) == list(call.fields)


@settings(deadline=None)
@given(st.binary(max_size=120))
def test_arbitrary_bytes(body: bytes) -> None:
    check_total(body)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(OURS)), JSON))
def test_arbitrary_values_in_our_fields(fields: dict[str, object]) -> None:
    check_total(request(**fields))


@settings(deadline=None)
@given(
    st.integers(0, 400),
    st.integers(0, 3),
    st.sampled_from([b"", b'"', b"\\", b"\\ud800", b"\xff", b",", b"}", b"1e999", b"[", b"\x00"]),
)
def test_a_body_with_one_wound(position: int, cut: int, put: bytes) -> None:
    body = request(
        tools=[{"type": "function", "function": {"name": "f", "parameters": {"a": [1, -2.5e3]}}}],
        x_kairosroute={"max_cost_usd": 0.01, "models": ["a\\", "ü"]},
        stop=["\n", "\U0001f600"],
    )
    at = position % len(body)
    check_total(body[:at] + put + body[at + cut :])

"""When healing is on, for which texts, and what is refused before anything is dispatched."""

import json
from typing import Any

import pytest

from kproxy.errors import Rejected
from kproxy.guard.forms import MOST_READ, Forms, check_by, heal_by, read_forms, refuse_schema
from kproxy.guard.heal import Form, Healed
from kproxy.guard.schemas import AT_ONCE, peek_schema
from kproxy.schema.chat import decode_chat
from kproxy.schema.compare import decode_compare
from kproxy.schema.jsonlimits import JsonLimits

OBJECT = {"response_format": {"type": "json_object"}}
TOOL = {
    "type": "function",
    "function": {"name": "f", "parameters": {"type": "object", "required": ["a"]}},
}


def schema(value: object) -> dict[str, Any]:
    asked = {"name": "x", "schema": value}
    return {"response_format": {"type": "json_schema", "json_schema": asked}}


def forms(heal: object = None, **fields: Any) -> Forms | None:
    if heal is not None:
        fields["x_kairosroute"] = {"heal": heal}
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], **fields}
    call = decode_chat(json.dumps(body).encode(), JsonLimits())
    return read_forms(call.request, call.fields)


def compiled(form: Form | None) -> Form:
    """Ready to be checked, as `api/apart.py` makes it."""
    assert form is not None
    assert form.schema is not None
    form.schema.compile()
    return form


@pytest.mark.parametrize(
    ("heal", "stream", "way"),
    [
        (None, False, "whole"),
        (True, False, "whole"),
        ("buffer", False, "whole"),
        (False, False, None),
        (None, True, None),
        (False, True, None),
        ("buffer", True, "buffer"),
        ("stream", True, "stream"),
        (True, True, "stream"),
    ],
)
def test_the_way(heal: object, stream: bool, way: str | None) -> None:
    found = forms(heal, stream=stream, **OBJECT)
    assert (None if found is None else found.way) == way


def test_a_request_for_text_heals_nothing() -> None:
    assert forms() is None
    assert forms(response_format={"type": "text"}) is None
    assert forms(tools=[TOOL]) is None


@pytest.mark.parametrize(
    ("heal", "fields", "param"),
    [
        ("please", OBJECT, "x_kairosroute.heal"),
        (True, {}, "x_kairosroute.heal"),
        ("buffer", {"stream": True, "tools": [TOOL]}, "x_kairosroute.heal"),
        (None, schema({"$ref": "http://127.0.0.1/x"}), "response_format.json_schema.schema"),
        (None, schema("text"), "response_format.json_schema.schema"),
        (None, {"response_format": {"type": "json_schema", "json_schema": 1}}, "response_format"),
    ],
)
def test_refused(heal: object, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(Rejected) as caught:
        forms(heal, **fields)
    assert (caught.value.status, caught.value.param) == (400, param)


def test_plugins_that_bring_tools_are_enough() -> None:
    def ours(heal: object, **fields: object) -> Forms | None:
        body = {"messages": [{"role": "user", "content": "x"}], **fields}
        body["x_kairosroute"] = {"heal": heal}
        call = decode_chat(json.dumps({"model": "m", **body}).encode(), JsonLimits())
        return read_forms(call.request, call.fields, ours=True)

    found = ours(True)
    assert found is not None
    assert found.content is None
    assert ours(True, stream=True) is None, "calls of ours alone"
    with pytest.raises(Rejected, match="needs a 'response_format'"):
        ours("buffer", stream=True)


def test_a_comparison_shows_what_came() -> None:
    def compared(**extension: object) -> Forms | None:
        body = {
            "messages": [{"role": "user", "content": "x"}],
            "x_kairosroute": extension,
            **OBJECT,
        }
        call = decode_compare(json.dumps(body).encode(), JsonLimits())
        return read_forms(call.request, call.fields)

    assert compared() is None
    with pytest.raises(Rejected, match="not for comparisons"):
        compared(heal=True)


def test_a_stream_that_is_not_healed_has_its_schema_left_alone() -> None:
    assert forms(stream=True, **schema({"$ref": "http://127.0.0.1/x"})) is None


def test_the_form_of_the_content() -> None:
    found = forms(**schema({"type": "object", "required": ["a"]}))
    assert found is not None
    content = compiled(found.content)
    assert content.takes('{"a": 1}')
    assert not content.takes("{}")
    without = forms(response_format={"type": "json_schema", "json_schema": {"name": "x"}})
    assert without is not None
    assert without.content is not None
    assert without.content.schema is None


def test_the_form_of_a_tool_s_arguments() -> None:
    found = forms(True, tools=[TOOL, {"type": "function", "function": {"name": "g"}}])
    assert found is not None
    assert found.content is None
    assert not compiled(found.arguments("f")).takes("{}")
    assert found.arguments("g").takes("{}")
    assert not found.arguments("unknown").takes("[]")


@pytest.mark.parametrize("parameters", [{"$ref": "http://127.0.0.1/x"}, "text"])
def test_a_tool_s_schema_that_cannot_be_used_says_nothing(parameters: object) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    found = forms(tools=[tool], **OBJECT)
    assert found is not None
    assert found.arguments("f").takes("{}")


def tools(count: int, parameters: object) -> list[dict[str, Any]]:
    """So many tools with these parameters."""
    return [
        {"type": "function", "function": {"name": f"f{number}", "parameters": parameters}}
        for number in range(count)
    ]


def test_of_tools_only_what_is_called_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []

    def peek(raw: bytes, param: str) -> Any:
        seen.append(raw)
        return peek_schema(raw, param)

    monkeypatch.setattr("kproxy.guard.forms.peek_schema", peek)
    found = forms(True, tools=tools(200, {"type": "object"}))
    assert found is not None
    for _ in range(2):
        found.arguments("f7")
        found.arguments("unknown")
    assert seen == [b'{"type": "object"}']


@pytest.mark.parametrize(
    ("parameters", "read"),
    [
        ({"enum": list(range(AT_ONCE - 10))}, 5),
        ({"allOf": [{"pattern": "x"}] * 9}, 4),
        ({"$ref": "http://127.0.0.1/x"}, 4),
    ],
)
def test_the_sum_of_what_is_looked_at_is_bounded(
    parameters: object, read: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many tools, each of them within the limits: what is beyond is not checked, and says so."""
    looked: list[bytes] = []

    def peek(raw: bytes, param: str) -> Any:
        looked.append(raw)
        return peek_schema(raw, param)

    monkeypatch.setattr("kproxy.guard.forms.peek_schema", peek)
    found = forms(True, tools=tools(50, parameters))
    assert found is not None
    schemas = [found.arguments(f"f{number}").schema for number in range(50)]
    assert len(looked) == read
    last = schemas[-1]
    assert last is not None
    last.compile()
    assert (last.checks, last.raw) == (False, b"")
    assert "unchecked" in heal_by("{'a': 1}", "stop", b"", arguments=True).done
    assert MOST_READ == 4 * AT_ONCE


def test_a_schema_that_is_large_is_checked_elsewhere() -> None:
    found = forms(**schema({"allOf": [{"pattern": "(?=a)"}] * 9}))
    assert found is not None
    assert found.content is not None
    large = found.content.schema
    assert large is not None
    assert large.is_large
    said = check_by(large.raw)
    assert said is not None
    assert refuse_schema(said).param == "response_format.json_schema.schema"
    assert check_by(b"{}") is None


def test_healing_by_bytes() -> None:
    raw = b'{"type": "object", "required": ["a"]}'
    assert heal_by("{'a': 1}", "stop", raw, arguments=False).text == '{"a": 1}'
    assert heal_by("{'b': 1}", "stop", raw, arguments=False).why == "schema"
    assert heal_by("", "stop", None, arguments=True) == Healed("{}", healed=True, done=("empty",))
    assert heal_by("{'b': 1}", "stop", b'{"type": 3}', arguments=True).text == '{"b": 1}'

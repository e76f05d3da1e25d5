"""Tools, the choice among them, and the calls that Anthropic has no words for."""

import json
from typing import Any

import pytest
from msgspec import Raw

from kproxy.dialect.anthropic.tools import tool_choice, translate_tools
from kproxy.errors import NotCarried


def raw(value: Any) -> Raw:
    return Raw(json.dumps(value).encode())


def chosen(choice: Any = None, parallel: Any = None) -> Any:
    given = [None if one is None else raw(one) for one in (choice, parallel)]
    return tool_choice(*given)


ALONE = {"disable_parallel_tool_use": True}
NAMED = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    ("choice", "parallel", "said"),
    [
        (None, None, None),
        (None, True, None),
        (None, False, {"type": "auto"} | ALONE),
        ("auto", None, {"type": "auto"}),
        ("required", False, {"type": "any"} | ALONE),
        ("none", False, {"type": "none"}),
        (NAMED, None, {"type": "tool", "name": "f"}),
        (NAMED, False, {"type": "tool", "name": "f"} | ALONE),
    ],
)
def test_choices(choice: Any, parallel: Any, said: Any) -> None:
    assert chosen(choice, parallel) == said


@pytest.mark.parametrize(
    "choice",
    [
        "any",
        5,
        [],
        {"type": "allowed_tools"},
        {"type": "function"},
        {"type": "function", "function": {}},
    ],
)
def test_choices_that_there_are_not(choice: Any) -> None:
    with pytest.raises(NotCarried) as caught:
        chosen(choice)
    assert caught.value.param == "tool_choice"


def test_a_tool_without_parameters_takes_an_empty_object() -> None:
    for parameters in ({}, {"parameters": None}):
        (tool,) = translate_tools(
            raw([{"type": "function", "function": {"name": "f"} | parameters}])
        )
        assert json.loads(bytes(tool["input_schema"])) == {"type": "object", "properties": {}}
        assert set(tool) == {"name", "input_schema"}


def test_a_cache_mark_stays() -> None:
    mark = {"type": "ephemeral"}
    (tool,) = translate_tools(raw([{"function": {"name": "f"}, "cache_control": mark}]))
    assert json.loads(bytes(tool["cache_control"])) == mark


def test_tools_of_other_kinds_pass_as_they_came() -> None:
    (tool,) = translate_tools(raw([{"type": "bash_20250124", "name": "bash"}]))
    assert json.loads(bytes(tool)) == {"type": "bash_20250124", "name": "bash"}


@pytest.mark.parametrize("kind", ["web_search_20250305", "code_execution_20250825", "new_1"])
def test_tools_that_anthropic_carries_out_are_refused(kind: str) -> None:
    with pytest.raises(NotCarried, match=kind) as caught:
        translate_tools(raw([NAMED, {"type": kind, "name": "x"}]))
    assert caught.value.param == "tools[1]"


@pytest.mark.parametrize(
    ("tools", "param"),
    [([{"type": "function"}], "tools[0]"), ([5], "tools"), ([{"function": {}}], "tools")],
)
def test_tools_that_are_none(tools: Any, param: str) -> None:
    with pytest.raises(NotCarried) as caught:
        translate_tools(raw(tools))
    assert caught.value.param == param

"""The tool: its definition, and a text for whatever comes of a call."""

import json
from dataclasses import dataclass, field

import pytest

from kproxy.plugins.code_exec import TOOL_NAME, CodeExec, render, tool
from kproxy.plugins.sandbox import Outcome


@dataclass
class Fixed:
    """A sandbox with one answer."""

    outcome: Outcome = field(default_factory=Outcome)
    asked: list[str] = field(default_factory=list)

    async def run(self, code: str) -> Outcome:
        self.asked.append(code)
        return self.outcome


@pytest.mark.parametrize("tier", ["monty", "python"])
def test_the_definition_is_openais(tier: str) -> None:
    definition = tool(tier, 5.0)
    assert definition["type"] == "function"
    function = definition["function"]
    assert function["name"] == TOOL_NAME
    assert "5 seconds" in function["description"]
    assert function["parameters"]["required"] == ["code"]
    assert json.loads(json.dumps(definition)) == definition


async def test_the_code_is_run() -> None:
    sandbox = Fixed(Outcome(stdout="4\n", result="None"))
    assert await CodeExec(sandbox, 100).call('{"code": "print(2 + 2)"}') == "4\n=> None"
    assert sandbox.asked == ["print(2 + 2)"]


@pytest.mark.parametrize(
    "arguments", ["", "{", "[]", "{}", '{"code": 1}', '{"code": "\ud800"}', "[" * 100_000]
)
async def test_bad_arguments_are_told_and_not_run(arguments: str) -> None:
    sandbox = Fixed()
    assert "arguments" in await CodeExec(sandbox, 100).call(arguments)
    assert sandbox.asked == []


def test_an_error_comes_with_what_was_printed_before() -> None:
    outcome = Outcome(stdout="a\n", error="exception", text="ValueError: b\n")
    assert render(outcome, 100) == "a\n[error: exception] ValueError: b"


def test_silence_is_said() -> None:
    assert render(Outcome(), 100) == "[no output]"


def test_a_text_at_the_limit_is_whole() -> None:
    assert render(Outcome(stdout="x" * 100), 100) == "x" * 100
    cut = render(Outcome(stdout="x" * 101), 100)
    assert cut.endswith("[cut: there was more]")
    assert len(cut.encode()) <= 100


@pytest.mark.parametrize("most", [40, 100, 1000])
def test_a_cut_text_keeps_the_end_of_an_error(most: int) -> None:
    outcome = Outcome(stdout="\N{GRINNING FACE}" * 1000, error="exception", text="x" * 999 + "why")
    text = render(outcome, most)
    assert "[cut: there was more]" in text
    assert text.endswith("why")
    assert len(text.encode()) <= most


def test_what_the_sandbox_cut_is_marked() -> None:
    outcome = Outcome(stdout="abc", error="output", text="it printed too much", truncated=True)
    assert "[cut: there was more]" in render(outcome, 1000)
    assert "[error: output]" in render(outcome, 1000)

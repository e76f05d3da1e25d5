"""Plugins as the official client sees them: a sandbox that runs what a model calls, and memory."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.fakes.clients import DIALECTS, Both, both, with_fault

pytestmark = pytest.mark.loopback

# A machine that is slow has to start a child; how fast it does is no matter of these tests.
CONFIG = "[plugins.code-exec]\nseconds = 60.0\n"
RUN: list[Any] = [{"role": "user", "content": "Run this:\n```python\nprint(sum(range(101)))\n```"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    with both(tmp_path_factory.mktemp("plugins"), CONFIG) as front:
        yield front


@pytest.fixture
def client(front: Both) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=front.base_url, api_key=front.key, max_retries=0) as client:
        yield client


dialects = pytest.mark.parametrize("dialect", DIALECTS)


def asked(*plugins: str, **more: Any) -> dict[str, Any]:
    return {"extra_body": {"plugins": list(plugins), **more}}


def check(ours: Any, usage: Any) -> None:
    """Two rounds: the call of our tool, which was carried out, and the answer."""
    (report,) = ours["plugins"]
    assert (report["id"], report["ok"], report["calls"]) == ("code-exec", True, 1)
    assert ours["attempts"] == 2
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert ours["cost_usd"] > 0


@dialects
def test_code_is_run_for_a_whole_answer(client: openai.OpenAI, front: Both, dialect: str) -> None:
    answer = client.chat.completions.create(
        model=dialect, messages=RUN, **asked("code-exec", x_kairosroute={"explain": True})
    )
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.content
    assert not answer.choices[0].message.tool_calls
    ours = answer.x_kairosroute  # type: ignore[attr-defined]
    check(ours, answer.usage)
    with front.server.caller() as caller:
        receipt = caller.get(f"/v1/receipts/{ours['receipt_id']}").json()
    assert [one["ending"] for one in receipt["attempts"]] == ["complete", "complete"]
    assert receipt["plugins"] == ours["plugins"]
    assert receipt["execution"]["usage"]["total_tokens"] == answer.usage.total_tokens  # type: ignore[union-attr]


@dialects
def test_code_is_run_in_a_stream(client: openai.OpenAI, dialect: str) -> None:
    chunks = list(
        client.chat.completions.create(
            model=dialect,
            messages=RUN,
            stream=True,
            stream_options={"include_usage": True},
            **asked("code-exec"),
        )
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert [one.choices[0].finish_reason for one in chunks if one.choices][-1] == "stop"
    assert not any(one.choices[0].delta.tool_calls for one in chunks if one.choices)
    assert len({chunk.id for chunk in chunks}) == 1
    check(chunks[-1].x_kairosroute, chunks[-1].usage)  # type: ignore[attr-defined]


@dialects
def test_the_callers_own_tool_beside_it(client: openai.OpenAI, dialect: str) -> None:
    """The simulated model calls both at once: the caller answers first."""
    create: Any = client.chat.completions.create
    wish = {"model": dialect, "messages": RUN, "tools": [WEATHER], **asked("code-exec")}
    whole = create(**wish).choices[0]
    assert whole.finish_reason == "tool_calls"
    assert [one.function.name for one in whole.message.tool_calls] == ["get_weather"]
    with client.chat.completions.stream(**wish) as stream:
        streamed = stream.get_final_completion().choices[0]
    assert streamed.finish_reason == "tool_calls"
    assert [one.function.name for one in streamed.message.tool_calls or ()] == ["get_weather"]


def test_layers_of_the_sandbox_are_shown(client: openai.OpenAI, front: Both) -> None:
    client.chat.completions.create(model="openai", messages=RUN, **asked("code-exec"))
    with front.server.caller() as caller:
        ready = caller.get("/readyz").json()
    assert ready["status"] == "ready"
    assert ready["sandbox"]["process"] is True


@dialects
def test_what_was_said_is_remembered(client: openai.OpenAI, front: Both, dialect: str) -> None:
    say: Any = client.chat.completions.create
    said = [{"role": "user", "content": "My name is Ada. I prefer tea."}]
    first = say(model=dialect, messages=said, user=dialect, **asked("memory"))
    assert first.x_kairosroute["plugins"][0]["kept"] == 2
    question = [{"role": "user", "content": "What is my name?"}]
    echo = with_fault(dialect, "echo")
    second = say(model=echo, messages=question, user=dialect, **asked("memory"))
    assert "My name is Ada." in second.choices[0].message.content
    with front.server.caller() as caller:
        kept = caller.get(f"/v1/memories?user={dialect}").json()["data"]
    assert [one["text"] for one in kept] == ["I prefer tea.", "My name is Ada."]


def test_import_loads_no_plugin() -> None:
    code = "import sys, kproxy; print(any('plugins' in name for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "False\n", done.stderr

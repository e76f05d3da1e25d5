"""The official Anthropic client on the simulated Messages wire: what kproxy speaks to, is it real?

kproxy itself serves no `/v1/messages`, so this client goes to `kproxy sim` directly. It sends what
kproxy would (the golden requests), and gets what kproxy would get.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import pytest
from anthropic.types import Message

from tests.fakes.clients import SCHEMA
from tests.fakes.server import Simulated, simulating, until

pytestmark = pytest.mark.loopback

GOLDEN = Path(__file__).parent.parent / "dialect" / "golden" / "requests"
HELLO: list[Any] = [{"role": "user", "content": "Hello!"}]
TOOLS: list[Any] = [
    {"name": "get_weather", "input_schema": {"type": "object", "properties": {"city": {}}}},
    {"name": "get_time", "input_schema": {"type": "object", "properties": {}}},
]


@pytest.fixture(scope="module")
def sim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulated]:
    with simulating(tmp_path_factory.mktemp("claude")) as sim:
        yield sim


@pytest.fixture
def claude(sim: Simulated) -> Iterator[anthropic.Anthropic]:
    base_url = sim.base_url.removesuffix("/v1")
    # With a timeout of its own it does not refuse a large max_tokens before it is sent.
    with anthropic.Anthropic(base_url=base_url, api_key="any", max_retries=0, timeout=60) as claude:
        yield claude


def ask(claude: anthropic.Anthropic, **fields: Any) -> Any:
    return claude.messages.create(
        **{"model": "claude-x", "max_tokens": 100, "messages": HELLO, **fields}
    )


@pytest.mark.parametrize("name", sorted(path.stem for path in GOLDEN.iterdir()))
def test_what_kproxy_sends_is_answered(claude: anthropic.Anthropic, name: str) -> None:
    body = json.loads((GOLDEN / f"{name}.json").read_text())["anthropic"]
    extra = {key: body.pop(key) for key in ("temperature", "top_k") if key in body}
    message = ask(claude, **body, extra_body=extra)
    assert message.content
    assert message.usage.output_tokens > 0


def test_a_stream(claude: anthropic.Anthropic) -> None:
    with claude.messages.stream(model="claude-x", max_tokens=100, messages=HELLO) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    whole: Message = ask(claude)
    assert whole.content[0].type == "text"
    assert text == whole.content[0].text
    assert (final.stop_reason, final.usage.output_tokens) == (
        whole.stop_reason,
        whole.usage.output_tokens,
    )


def test_parallel_tools_streamed(claude: anthropic.Anthropic) -> None:
    with claude.messages.stream(
        model="claude-x", max_tokens=100, messages=HELLO, tools=TOOLS
    ) as stream:
        calls = stream.get_final_message().content
    assert [call.name for call in calls if call.type == "tool_use"] == ["get_weather", "get_time"]
    assert [call.model_dump() for call in calls] == [
        call.model_dump() for call in ask(claude, tools=TOOLS).content
    ]


def test_a_schema(claude: anthropic.Anthropic) -> None:
    shape = {"format": {"type": "json_schema", "schema": SCHEMA}}
    said = json.loads(ask(claude, output_config=shape).content[0].text)
    assert set(said) == {"answer", "size"}


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("context-length", anthropic.BadRequestError, "prompt is too long"),
        ("401", anthropic.AuthenticationError, "invalid x-api-key"),
        ("429", anthropic.RateLimitError, "rate limit"),
        ("529", anthropic.InternalServerError, "Overloaded"),
    ],
)
def test_errors(
    claude: anthropic.Anthropic, fault: str, error: type[anthropic.APIStatusError], words: str
) -> None:
    with pytest.raises(error, match=words):
        ask(claude, model=f"claude-x!{fault}")


def test_an_error_inside_a_stream(claude: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        list(ask(claude, model="claude-x!error-event=3", stream=True))


def test_who_leaves(sim: Simulated, claude: anthropic.Anthropic) -> None:
    before = sim.hangups()
    stream = ask(claude, model="claude-x!stall=3,600", stream=True)
    assert next(iter(stream)).type == "message_start"
    stream.close()
    until(lambda: sim.hangups() > before)

"""LangChain's ChatOpenAI through kproxy, in both dialects."""

from collections.abc import Iterator
from typing import Any

import openai
import pydantic
import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_openai import ChatOpenAI

from tests.fakes.clients import DIALECTS, PIXEL, TOOLS, Both, both, with_fault
from tests.fakes.server import until

pytestmark = pytest.mark.loopback

ASKED = [SystemMessage("Be brief."), HumanMessage("Hello!")]


class Answer(pydantic.BaseModel):
    """An answer."""

    answer: str
    size: int


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    with both(tmp_path_factory.mktemp("langchain")) as front:
        yield front


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def model(front: Both, name: str, **fields: Any) -> ChatOpenAI:
    given = {"base_url": front.base_url, "api_key": front.key, "max_retries": 0, "timeout": 60}
    return ChatOpenAI(model=name, **given, **fields)


def test_a_chat(front: Both, dialect: str) -> None:
    answer = model(front, dialect, max_tokens=50).invoke(ASKED)
    assert answer.content
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] > 0
    assert answer.response_metadata["finish_reason"] == "stop"


@pytest.mark.parametrize("usage", [False, True])
def test_a_stream(front: Both, dialect: str, usage: bool) -> None:
    chat = model(front, dialect, max_tokens=50, stream_usage=usage)
    whole: AIMessageChunk | None = None
    for chunk in chat.stream(ASKED):
        assert isinstance(chunk, AIMessageChunk)
        whole = chunk if whole is None else whole + chunk
    assert whole is not None
    assert whole.content == chat.invoke(ASKED).content
    assert (whole.usage_metadata is not None) is usage


@pytest.mark.parametrize("streaming", [False, True])
def test_tools(front: Both, dialect: str, streaming: bool) -> None:
    chat = model(front, dialect, max_tokens=100, streaming=streaming).bind_tools(TOOLS)
    answer = chat.invoke(ASKED)
    assert [call["name"] for call in answer.tool_calls] == ["get_weather", "get_time"]
    assert set(answer.tool_calls[0]["args"]) == {"city"}
    assert not answer.invalid_tool_calls
    results = [ToolMessage("fine", tool_call_id=call["id"]) for call in answer.tool_calls]
    assert chat.invoke([*ASKED, answer, *results]).content


def test_a_schema(front: Both, dialect: str) -> None:
    chat = model(front, dialect).with_structured_output(Answer)
    assert isinstance(chat.invoke(ASKED), Answer)


def test_an_image(front: Both, dialect: str) -> None:
    parts: list[Any] = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": PIXEL}},
    ]
    assert model(front, dialect).invoke([HumanMessage(parts)]).content


def test_errors(front: Both, dialect: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        model(front, with_fault(dialect, "context-length")).invoke(ASKED)
    assert caught.value.code == "context_length_exceeded"
    with pytest.raises(openai.InternalServerError):
        model(front, with_fault(dialect, "529")).invoke(ASKED)


def test_a_broken_stream(front: Both, dialect: str) -> None:
    before = front.sim.hangups()
    with pytest.raises(openai.APIError) as broken:
        list(model(front, f"broken-{dialect}").stream(ASKED))
    assert not isinstance(broken.value, openai.APIStatusError)
    until(lambda: front.sim.hangups() > before, "the given up attempt is closed")


def test_who_leaves(front: Both, dialect: str) -> None:
    before = front.sim.hangups()
    stream = model(front, with_fault(dialect, "stall=3,600")).stream(ASKED)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    until(lambda: front.sim.hangups() > before)

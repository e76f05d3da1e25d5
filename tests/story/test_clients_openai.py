"""The official OpenAI client through kproxy, to a provider that speaks OpenAI's API or Anthropic's.

The same calls in both dialects: whoever asks cannot tell which one it was.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pydantic
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.fakes.clients import DIALECTS, HELLO, PIXEL, SCHEMA, TOOLS, Both, both, with_fault
from tests.fakes.server import until

pytestmark = pytest.mark.loopback


class Answer(pydantic.BaseModel):
    """What a schema-bound answer holds."""

    answer: str
    size: int


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    with both(tmp_path_factory.mktemp("clients")) as front:
        yield front


@pytest.fixture
def client(front: Both) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=front.base_url, api_key=front.key, max_retries=0) as client:
        yield client


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> str:
    return str(request.param)


Complete = Callable[..., Any]


@pytest.fixture
def complete(client: openai.OpenAI, dialect: str) -> Complete:
    def complete(**fields: Any) -> Any:
        return client.chat.completions.create(
            **{"model": dialect, "messages": HELLO, "max_tokens": 100, **fields}
        )

    return complete


def text(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(one.choices[0].delta.content or "" for one in chunks if one.choices)


def test_a_completion(complete: Complete, dialect: str) -> None:
    answer: ChatCompletion = complete(temperature=1.5, stop=["END"], user="u-1")
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.created > 1_700_000_000
    assert answer.model_extra is not None
    ours = answer.model_extra["x_kairosroute"]
    assert (ours["provider"], ours["attempts"]) == (f"by-{dialect}", 1)
    assert ours["cost_usd"] > 0


def test_the_headers(client: openai.OpenAI, dialect: str) -> None:
    raw = client.chat.completions.with_raw_response.create(model=dialect, messages=HELLO)
    ours = raw.parse().model_extra
    assert ours is not None
    assert raw.headers["x-kairosroute-provider"] == f"by-{dialect}"
    assert float(raw.headers["x-kairosroute-cost"]) == ours["x_kairosroute"]["cost_usd"]


def test_a_limit_that_is_reached(complete: Complete) -> None:
    answer = complete(max_tokens=3)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 3


@pytest.mark.parametrize("usage", [False, True])
def test_a_stream(complete: Complete, dialect: str, usage: bool) -> None:
    options = {"stream_options": {"include_usage": True}} if usage else {}
    chunks = list(complete(stream=True, **options))
    answer = complete()
    assert text(chunks) == answer.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert len({chunk.id for chunk in chunks}) == 1
    reasons = [one.choices[0].finish_reason for one in chunks if one.choices]
    assert [reason for reason in reasons if reason] == ["stop"]
    assert chunks[-1].model_extra["x_kairosroute"]["provider"] == f"by-{dialect}"
    if usage:
        assert chunks[-1].choices == []
        assert chunks[-1].usage.total_tokens == answer.usage.total_tokens
    else:
        assert all(chunk.choices for chunk in chunks)


# The client stops reading at [DONE] and leaves its generators to the collector, as trio tells us.
@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
async def test_the_asynchronous_client(front: Both, dialect: str, complete: Complete) -> None:
    async with openai.AsyncOpenAI(base_url=front.base_url, api_key=front.key) as client:
        stream = await client.chat.completions.create(
            model=dialect, messages=HELLO, max_tokens=100, stream=True
        )
        chunks = [chunk async for chunk in stream]
    assert text(chunks) == complete().choices[0].message.content


def test_parallel_tool_calls_and_their_results(complete: Complete) -> None:
    answer = complete(tools=TOOLS)
    message = answer.choices[0].message
    assert answer.choices[0].finish_reason == "tool_calls"
    names = [call.function.name for call in message.tool_calls]
    assert names == ["get_weather", "get_time"]
    assert set(json.loads(message.tool_calls[0].function.arguments)) == {"city"}
    assert json.loads(message.tool_calls[1].function.arguments) == {}
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": "fine"} for call in message.tool_calls
    ]
    messages = [*HELLO, message.model_dump(exclude_none=True), *results]
    final = complete(tools=TOOLS, messages=messages)
    assert final.choices[0].finish_reason == "stop"
    assert final.choices[0].message.content


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"parallel_tool_calls": False}, ["get_weather"]),
        ({"tool_choice": {"type": "function", "function": {"name": "get_time"}}}, ["get_time"]),
        ({"tool_choice": "required"}, ["get_weather", "get_time"]),
        ({"tool_choice": "none"}, []),
    ],
)
def test_the_choice_of_tools(complete: Complete, fields: dict[str, Any], names: list[str]) -> None:
    calls = complete(tools=TOOLS, **fields).choices[0].message.tool_calls or []
    assert [call.function.name for call in calls] == names


def test_streamed_tool_calls(client: openai.OpenAI, complete: Complete, dialect: str) -> None:
    with client.chat.completions.stream(
        model=dialect, messages=HELLO, tools=TOOLS, max_tokens=100
    ) as stream:
        calls = stream.get_final_completion().choices[0].message.tool_calls
    whole = complete(tools=TOOLS).choices[0].message.tool_calls
    assert calls is not None
    assert [(one.id, one.function.name) for one in calls] == [
        (one.id, one.function.name) for one in whole
    ]
    assert [json.loads(one.function.arguments) for one in calls] == [
        json.loads(one.function.arguments) for one in whole
    ]


@pytest.mark.parametrize("stream", [False, True])
def test_a_schema(complete: Complete, stream: bool) -> None:
    shape = {"type": "json_schema", "json_schema": {"name": "a", "strict": True, "schema": SCHEMA}}
    answer = complete(response_format=shape, stream=stream)
    said = text(list(answer)) if stream else answer.choices[0].message.content
    Answer.model_validate_json(said, strict=True)


def test_the_clients_own_parsing(client: openai.OpenAI, dialect: str) -> None:
    answer = client.chat.completions.parse(model=dialect, messages=HELLO, response_format=Answer)
    assert isinstance(answer.choices[0].message.parsed, Answer)


@pytest.mark.parametrize("url", [PIXEL, "https://images.invalid/a.png"])
def test_an_image(complete: Complete, url: str) -> None:
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": url, "detail": "low"}},
    ]
    answer = complete(messages=[{"role": "user", "content": parts}])
    assert answer.choices[0].message.content


@pytest.mark.parametrize(
    ("fault", "error", "code"),
    [
        ("context-length", openai.BadRequestError, "context_length_exceeded"),
        ("content-filter", openai.BadRequestError, "content_filter"),
        ("413", openai.APIStatusError, "request_too_large"),
        ("429", openai.InternalServerError, "all_models_unavailable"),
        ("529", openai.InternalServerError, "all_models_unavailable"),
        ("error-event", openai.InternalServerError, "all_models_unavailable"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors(
    complete: Complete,
    dialect: str,
    stream: bool,
    fault: str,
    error: type[openai.APIStatusError],
    code: str,
) -> None:
    model = with_fault(dialect, fault if stream or fault != "error-event" else "500")
    with pytest.raises(error) as caught:
        complete(model=model, stream=stream)
    assert caught.value.code == code


def test_no_such_model_and_no_such_key(client: openai.OpenAI, complete: Complete) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        complete(model="nobody")
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="kr-wrong").models.list()


def test_a_broken_stream_is_an_error_for_the_client(
    front: Both, complete: Complete, dialect: str
) -> None:
    before = front.sim.hangups()
    seen: list[ChatCompletionChunk] = []
    stream = complete(model=f"broken-{dialect}", stream=True)
    with pytest.raises(openai.APIError) as caught:
        seen.extend(stream)  # what came before the error is in it
    assert not isinstance(caught.value, openai.APIStatusError)
    assert text(seen)
    assert not any(one.choices[0].finish_reason for one in seen)
    until(lambda: front.sim.hangups() > before, "the given up attempt is closed")


def test_who_leaves_is_noticed_at_the_provider(
    front: Both, complete: Complete, dialect: str
) -> None:
    before = front.sim.hangups()
    stream = complete(model=with_fault(dialect, "stall=3,600"), stream=True)
    assert next(iter(stream)).choices
    stream.close()
    until(lambda: front.sim.hangups() > before)


def test_what_anthropic_has_no_words_for(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="anthropic", messages=HELLO, n=2)
    assert (caught.value.param, caught.value.code) == ("n", "unsupported_parameter")
    answer = client.chat.completions.create(model="auto", messages=HELLO, n=2)
    assert len(answer.choices) == 2

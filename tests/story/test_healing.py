"""JSON mode through real processes, asked by OpenAI's own client: what it parses is what was meant.

The simulated provider echoes the last user message where its model is called so, which makes it say
any broken thing; asked again (`once=echo`), it gives a value for the schema.
"""

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel

from tests.fakes.server import Served, Simulated, provider_config, serving, simulating

pytestmark = pytest.mark.loopback

ECHO, ONCE = "acme/m!echo", "acme/m!once=echo"
BROKEN = "Here you are:\n```json\n{'name': 'Ann', 'age': \"31\", 'tags': ['a', 'b',],}\n```"
OBJECT: Any = {"type": "json_object"}


class Person(BaseModel):
    name: str
    age: int
    tags: list[str]


ANN = Person(name="Ann", age=31, tags=["a", "b"])


@pytest.fixture(scope="module")
def sim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulated]:
    with simulating(
        tmp_path_factory.mktemp("sim"), "--first-token-ms", "0", "--token-ms", "0"
    ) as sim:
        yield sim


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, sim: Simulated) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("serve"), provider_config(acme=sim.base_url)) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Served) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0) as client:
        yield client


def asking(text: str) -> Any:
    return [{"role": "user", "content": text}]


def test_the_client_parses_a_broken_answer(client: OpenAI) -> None:
    found = client.chat.completions.parse(
        model=ECHO, messages=asking(BROKEN), response_format=Person
    )
    assert found.choices[0].message.parsed == ANN
    ours = found.x_kairosroute  # type: ignore[attr-defined]
    assert ours["healed"] is True
    assert ours["healing"] == ["fences", "prose", "commas", "quotes", "types"]


def test_a_good_answer_is_as_it_was(client: OpenAI) -> None:
    text = '{ "name":"Ann","age":31,"tags":[] }'
    found = client.chat.completions.parse(model=ECHO, messages=asking(text), response_format=Person)
    assert found.choices[0].message.content == text
    assert "healed" not in found.x_kairosroute  # type: ignore[attr-defined]


def test_who_cannot_be_healed_is_asked_again(client: OpenAI) -> None:
    found = client.chat.completions.parse(
        model=ONCE, messages=asking("I cannot say."), response_format=Person
    )
    assert found.choices[0].message.parsed is not None
    ours = found.x_kairosroute  # type: ignore[attr-defined]
    assert (ours["healed"], ours["healing"], ours["attempts"]) == (True, ["asked_again"], 2)


def test_a_hopeless_answer_comes_as_it_was(client: OpenAI) -> None:
    text = '{"name": <your name>}'
    found = client.chat.completions.create(
        model=ECHO, messages=asking(text), response_format=OBJECT
    )
    # Asked again, it echoes the wish.
    assert found.choices[0].message.content == text
    ours = found.x_kairosroute  # type: ignore[attr-defined]
    assert (ours["healed"], ours["unhealed"], ours["attempts"]) == (False, "not_json", 2)


@pytest.mark.parametrize("way", ["stream", "buffer"])
def test_a_stream_is_healed_where_it_asks_for_it(client: OpenAI, way: str) -> None:
    asked: dict[str, Any] = {
        "model": ECHO,
        "messages": asking(BROKEN),
        "response_format": OBJECT,
        "stream": True,
    }
    plain = client.chat.completions.create(**asked)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in plain)
    assert text == BROKEN
    healed = list(
        client.chat.completions.create(**asked, extra_body={"x_kairosroute": {"heal": way}})
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in healed)
    assert text == '{"name": "Ann", "age": "31", "tags": ["a", "b"]}'
    assert healed[-1].x_kairosroute["healed"] is True  # type: ignore[attr-defined]


def test_half_a_megabyte_is_healed_apart(client: OpenAI) -> None:
    row = "{{'id': {0}, 'ok': True, 'text': 'it\\'s row {0}'}}"
    rows = [row.format(number) for number in range(12_000)]
    found = client.chat.completions.create(
        model=ECHO, messages=asking(f"[{', '.join(rows)}]"), response_format=OBJECT
    )
    ours = found.x_kairosroute  # type: ignore[attr-defined]
    assert (ours["healed"], ours["healing"]) == (True, ["literals", "quotes"])


def test_a_schema_that_reaches_out_is_refused(client: OpenAI) -> None:
    schema = {"name": "x", "schema": {"$ref": "http://127.0.0.1:9/schema.json"}}
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model=ECHO,
            messages=asking("{}"),
            response_format={"type": "json_schema", "json_schema": schema},
        )
    assert caught.value.param == "response_format.json_schema.schema"

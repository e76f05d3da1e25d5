"""Two hundred real prompts through kproxy at once: not one byte of an answer differs.

The simulated provider is seeded, so the same request gives the same bytes, asked directly or
through kproxy. What kproxy adds is taken off by name; the rest is compared as bytes.

`prompts.jsonl.gz` is a sample of benchmark prompts: the longest, the least
ASCII, and some of each benchmark. Sources: MMLU-Pro
(TIGER-AI-Lab, Apache-2.0), ZeroEval (WildEval, Apache-2.0), LLMRouter (ulab-uiuc, MIT).
"""

import gzip
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.caller import Answer, Caller
from tests.fakes.server import Served, Simulated, provider_config, serving, simulating, until

pytestmark = pytest.mark.loopback

OURS = re.compile(rb',"x_kairosroute":\{[^{}]*\}')
USAGE_CHUNK = re.compile(rb'data: [^\n]*"choices":\[\][^\n]*\n\n')
EXOTIC = (
    "漢字とかな、한국어, ไทย, हिन्दी",
    "العربية والعبرית \u202e reversed",
    "👩‍👩‍👧‍👦🏳️‍🌈 and \U0001f9ec beyond the basic plane",
    "line\r\nbreaks\n\ndata: [DONE]\n\n\u2028\u2029\x85 and \x0b\x1c\x1e marks",
    '"quotes" \\ slashes / \\u0041 \x00 \x1b[31m \x7f',
    'data: {"error":{"message":"no"}}',
)
"""What the sample does not have: other scripts, and text that looks like framing."""

WITH_USAGE = {"stream": True, "stream_options": {"include_usage": True}}


def prompts() -> list[str]:
    packed = (Path(__file__).parent / "prompts.jsonl.gz").read_bytes()
    return [json.loads(line)["prompt"] for line in gzip.decompress(packed).splitlines()]


@pytest.fixture(scope="module")
def sim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulated]:
    with simulating(tmp_path_factory.mktemp("sim"), "--tokens", "24-96") as sim:
        yield sim


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, sim: Simulated) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("serve"), provider_config(acme=sim.base_url)) as server:
        yield server


def ask_all(address: tuple[str, int], key: str, **fields: Any) -> list[Answer]:
    """Every prompt at the same time, each on a connection of its own."""

    def ask(prompt: str) -> Answer:
        with Caller(address, key) as caller:
            return caller.ask(messages=[{"role": "user", "content": prompt}], **fields)

    wanted = [*prompts(), *EXOTIC]
    with ThreadPoolExecutor(len(wanted)) as pool:
        answers = list(pool.map(ask, wanted))
    assert all(answer.status == 200 and answer.whole for answer in answers)
    return answers


def through(server: Served, model: str, **fields: Any) -> list[Answer]:
    answers = ask_all(server.address, server.key, model=f"acme/{model}", **fields)
    until(server.at_rest)
    return answers


def direct(sim: Simulated, model: str, **fields: Any) -> list[bytes]:
    return [answer.body for answer in ask_all(sim.address, "any", model=model, **fields)]


def theirs(answer: Answer) -> bytes:
    """The body without what is ours, which stands in it exactly once."""
    body, count = OURS.subn(b"", answer.body)
    assert count == 1
    return body


def test_the_sample_is_what_it_should_be() -> None:
    found = prompts()
    assert len(found) == len(set(found)) == 200
    assert sum(not prompt.isascii() for prompt in found) >= 60
    assert max(map(len, found)) > 4_000


def test_streams_with_the_usage(server: Served, sim: Simulated) -> None:
    answers = through(server, "gpt-4.1", **WITH_USAGE)
    assert [theirs(answer) for answer in answers] == direct(sim, "gpt-4.1", **WITH_USAGE)
    assert all(not answer.chunks[-1]["choices"] for answer in answers)


@pytest.mark.parametrize("choices", [1, 2])
def test_streams_without_the_usage(server: Served, sim: Simulated, choices: int) -> None:
    """kproxy asks for it and takes it out."""
    answers = through(server, "gpt-4.1", stream=True, n=choices)
    expected = direct(sim, "gpt-4.1", **WITH_USAGE, n=choices)
    assert [theirs(answer) for answer in answers] == [
        USAGE_CHUNK.sub(b"", body) for body in expected
    ]


def test_whole_answers(server: Served, sim: Simulated) -> None:
    answers = through(server, "gpt-4.1")
    assert [theirs(answer) for answer in answers] == direct(sim, "gpt-4.1")


def test_a_stream_says_what_the_whole_answer_says(server: Served) -> None:
    streams = through(server, "gpt-4.1", stream=True)
    wholes = through(server, "gpt-4.1")
    assert [one.text for one in streams] == [one.text for one in wholes]
    for stream, whole in zip(streams, wholes, strict=True):
        ours, other = stream.chunks[-1]["x_kairosroute"], whole.json()["x_kairosroute"]
        assert ours.pop("receipt_id") != other.pop("receipt_id")
        assert ours == other


def test_prompts_come_back_as_they_went(server: Served) -> None:
    """The provider repeats the prompt, so both ways are compared with the text itself."""
    answers = through(server, "gpt-4.1!echo!pace=5,0", stream=True)
    assert [answer.text for answer in answers] == [*prompts(), *EXOTIC]

"""Usage as providers tell it, by table, and what is not believed."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kproxy.ledger.usage import estimate_usage, from_reply
from kproxy.outcome import Usage
from kproxy.schema.reply import ReplyUsage, decode_reply, read_usage


def told(usage: object) -> Usage | None:
    return from_reply(read_usage(decode_reply(json.dumps({"usage": usage}).encode()).usage))


def counts(prompt: object, completion: object, **more: object) -> dict[str, object]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, **more}


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (counts(45, 180, total_tokens=225), Usage(45, 180)),
        (counts(0, 0), Usage(0, 0)),
        (counts(12.0, 3), Usage(12, 3)),
        (counts(9, 2, prompt_tokens_details={"cached_tokens": 4}), Usage(9, 2, 4)),
        (counts(9, 2, prompt_tokens_details={"cached_tokens": 99}), Usage(9, 2, 9)),
        (counts(9, 2, prompt_tokens_details={"cached_tokens": -1}), Usage(9, 2)),
        (counts(9, 2, prompt_tokens_details={"cached_tokens": None}), Usage(9, 2)),
        (counts(9, 2, prompt_cache_hit_tokens=5), Usage(9, 2, 5)),
        (
            counts(9, 2, prompt_cache_hit_tokens=5, prompt_tokens_details={"cached_tokens": 6}),
            Usage(9, 2, 6),
        ),
        (
            counts(9, 7, total_tokens=16, completion_tokens_details={"reasoning_tokens": 5}),
            Usage(9, 7, 0, 5),
        ),
        (
            counts(9, 7, total_tokens=21, completion_tokens_details={"reasoning_tokens": 5}),
            Usage(9, 12, 0, 5),
        ),
        (counts(9, 7, completion_tokens_details={"reasoning_tokens": 50}), Usage(9, 7, 0, 7)),
        (counts(9, 7, total_tokens=26), Usage(9, 17, 0, 10)),
        (
            counts(9, 7, total_tokens=26, completion_tokens_details={"reasoning_tokens": 3}),
            Usage(9, 7, 0, 3),
        ),
        (counts(9, 7, total_tokens=1), Usage(9, 7)),
        (counts(9, 7, total_tokens=1e300), Usage(9, 7)),
        (
            counts(9, 2, prompt_tokens_details={"cached_tokens": 6, "cache_write_tokens": 5}),
            Usage(9, 2, 6, cache_write_tokens=3),
        ),
        ({"input_tokens": 9, "output_tokens": None}, None),
        ({"input_tokens": -9, "output_tokens": 1}, None),
        (None, None),
        ({}, None),
        (counts(None, 3), None),
        (counts(3, None), None),
        (counts(-3, 3), None),
        (counts(3, 1e300), None),
    ],
    ids=str,
)
def test_told(usage: object, expected: Usage | None) -> None:
    assert told(usage) == expected


@pytest.mark.parametrize(
    ("prompt", "written", "expected"),
    [(5, 0, (5, 0)), (5, 1, (5, 1)), (5, 8, (5, 2)), (5, 9, (5, 3)), (-1, -1, (0, 0))],
)
def test_estimated(prompt: int, written: int, expected: tuple[int, int]) -> None:
    assert estimate_usage(prompt, written) == Usage(*expected, estimated=True)


def test_an_estimate_is_no_more_than_was_asked_for() -> None:
    assert estimate_usage(5, 400, 60) == Usage(5, 60, estimated=True)
    assert estimate_usage(5, 400, 160) == Usage(5, 100, estimated=True)


NUMBER = st.none() | st.integers(-5, 50) | st.integers() | st.floats(allow_nan=False)
PROMPT = ("cached_tokens", "cache_write_tokens", "cache_creation_tokens")
FLAT = (
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "prompt_cache_hit_tokens",
    "cached_tokens",
    "cached_prompt_text_tokens",
    "reasoning_tokens",
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
)


def some(*names: str) -> st.SearchStrategy[dict[str, object]]:
    return st.fixed_dictionaries({}, optional=dict.fromkeys(names, NUMBER))


@settings(deadline=None)
@given(some(*FLAT), some(*PROMPT), some("reasoning_tokens"))
def test_parts_never_exceed_their_whole(
    flat: dict[str, object], prompt: dict[str, object], completion: dict[str, object]
) -> None:
    details = {"prompt_tokens_details": prompt, "completion_tokens_details": completion}
    usage = from_reply(msgspec.convert(flat | details, ReplyUsage))
    if usage is not None:
        assert min(usage.cached_tokens, usage.cache_write_tokens, usage.reasoning_tokens) >= 0
        assert usage.cached_tokens + usage.cache_write_tokens <= usage.prompt_tokens
        assert usage.reasoning_tokens <= usage.completion_tokens
        assert not usage.estimated

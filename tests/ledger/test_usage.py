"""Usage as providers tell it, by table, and what is not believed."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kproxy.ledger.usage import estimate_usage, from_reply
from kproxy.outcome import Usage
from kproxy.schema.reply import decode_reply, read_usage


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


NUMBER = st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)


@settings(deadline=None)
@given(NUMBER, NUMBER, NUMBER, NUMBER, NUMBER)
def test_parts_never_exceed_their_whole(
    prompt: object, completion: object, total: object, cached: object, reasoning: object
) -> None:
    usage = told(
        counts(
            prompt,
            completion,
            total_tokens=total,
            prompt_tokens_details={"cached_tokens": cached},
            completion_tokens_details={"reasoning_tokens": reasoning},
        )
    )
    if usage is not None:
        assert 0 <= usage.cached_tokens <= usage.prompt_tokens
        assert 0 <= usage.reasoning_tokens <= usage.completion_tokens
        assert not usage.estimated

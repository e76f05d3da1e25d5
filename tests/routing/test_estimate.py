"""Token estimates stay within a factor of counts made with a real tokenizer (cl100k)."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kproxy.catalog.load import Model, Price
from kproxy.routing.estimate import (
    IMAGE_TOKENS,
    LEAST_ROOM,
    estimate_cost,
    estimate_prompt_tokens,
    output_limit,
)


def messages(text: str, *, ascii_only: bool = False) -> bytes:
    return json.dumps([{"role": "user", "content": text}], ensure_ascii=ascii_only).encode()


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("Hello", 3, 12),
        ("The quick brown fox jumps over the lazy dog. " * 20, 160, 260),
        ("1234567890" * 30, 80, 260),
        ("今天天气很好我们去公园散步吧" * 20, 250, 420),
        ("Привет как твои дела " * 20, 120, 480),
        ("def f(x):\n        return x + 1\n" * 20, 160, 420),
        (" " * 1000, 5, 200),
        ("😀" * 100, 100, 320),
    ],
    ids=lambda value: str(value)[:12],
)
def test_within_a_factor(text: str, least: int, most: int) -> None:
    assert least <= estimate_prompt_tokens(messages(text)) <= most


def test_escaped_characters_count_like_plain_ones() -> None:
    text = "今天天气很好" * 50
    plain = estimate_prompt_tokens(messages(text))
    assert abs(estimate_prompt_tokens(messages(text, ascii_only=True)) - plain) <= plain // 20


def test_inline_images_count_flat() -> None:
    def body(size: int) -> bytes:
        url = "data:image/png;base64," + "iVBORw0K" * size
        part = {"type": "image_url", "image_url": {"url": url}}
        return json.dumps([{"role": "user", "content": [part, part]}]).encode()

    assert estimate_prompt_tokens(body(1)) == estimate_prompt_tokens(body(100_000))
    assert 2 * IMAGE_TOKENS < estimate_prompt_tokens(body(1)) < 2 * IMAGE_TOKENS + 100


@pytest.mark.parametrize("prompt", [b"", b"[]", b'"role"', b";base64,", b"x;base64,y"])
def test_odd_bytes_count_at_least_one(prompt: bytes) -> None:
    assert estimate_prompt_tokens(prompt) >= 1


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes(prompt: bytes) -> None:
    assert 1 <= estimate_prompt_tokens(prompt) <= 3 * len(prompt) + 1 + 300 * IMAGE_TOKENS


@pytest.mark.parametrize(
    ("price", "expected"),
    [
        (None, None),
        (Price.from_usd("2", "8"), 100 * 2_000 + 10 * 8_000),
        (Price.from_usd("2", "8", "0.5", None, "0.01"), 280_000 + 10_000_000),
        (Price(1, 1), 0),
        (Price(5_000, 0), 1),  # half a nano-dollar is rounded up
        (Price(4_999, 0), 0),
    ],
)
def test_cost(price: Price | None, expected: int | None) -> None:
    assert estimate_cost(price, 100, 10) == expected


@pytest.mark.parametrize(
    ("most", "window", "prompt", "limit"),
    [
        (None, None, 100, None),
        (8_000, None, 100_000, 8_000),
        (64_000, 200_000, 100, 64_000),
        (64_000, 200_000, 150_000, 12_500),
        (None, 10_000, 4_000, 5_000),
        (64_000, 200_000, 199_000, LEAST_ROOM),
    ],
)
def test_how_much_may_be_written_behind_a_prompt(
    most: int | None, window: int | None, prompt: int, limit: int | None
) -> None:
    model = Model("m", "p", "m", None, context_tokens=window, max_output_tokens=most)
    assert output_limit(model, prompt) == limit

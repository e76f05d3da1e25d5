"""JSON by the letter."""

import pytest

from kproxy.guard.grammar import is_json, value_of


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        " [1, 2.5e-3] \n",
        '"x"',
        "null",
        '{"a": "\\ud800"}',
        "[1e999]",
        "1" * 5_000,
        "\u00e4".join('""'),
    ],
)
def test_json(text: str) -> None:
    assert is_json(text)
    value_of(text)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[1,]", "NaN", "[NaN]", "01", "{'a': 1}", '"\x01"', '"\\x"', "[1] [2]", "[" * 5_000,
     '["\\ud800", NaN]', "\ufeff{}", "\u00a0{}"],
)  # fmt: skip
def test_no_json(text: str) -> None:
    assert not is_json(text)


def test_values() -> None:
    assert value_of('{"a": [1, null]}') == {"a": [1, None]}
    assert value_of("[1e999]") == [float("inf")]

"""Parameters are checked when they are made, and say which one is wrong."""

import pytest

from kproxy.sim.params import Pace, SimParams, parse_tail, parse_tokens


def test_defaults_are_those_of_the_demonstration():
    params = SimParams()
    assert params.pace() == Pace(0.15, 0.015, 0.25, 0, 1.0)
    assert params.lengths() == (24, 96)
    assert params.rules() == {}


def test_everything_given():
    params = SimParams(first_token_ms=0, token_ms=2, jitter=0, tail="20x10", tokens="7")
    assert params.pace() == Pace(0.0, 0.002, 0, 20, 10.0)
    assert params.lengths() == (7, 7)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"first_token_ms": -1}, "first_token_ms: between"),
        ({"token_ms": float("nan")}, "token_ms: between"),
        ({"token_ms": float("inf")}, "token_ms: between"),
        ({"jitter": 6}, "jitter: between 0 and 5"),
        ({"tail": "0x2"}, "tail: like"),
        ({"tail": "20"}, "tail: like"),
        ({"tokens": "0"}, "tokens: like"),
        ({"tokens": "9-3"}, "tokens: like"),
        ({"tokens": "x"}, "tokens: like"),
        ({"faults": ("nonsense",)}, "faults: 'nonsense': unknown fault"),
    ],
)
def test_what_is_wrong_is_named(fields, message):
    with pytest.raises(ValueError, match=message):
        SimParams(**fields)


def test_the_limits_themselves_are_good():
    SimParams(first_token_ms=3_600_000, token_ms=0, jitter=5)


@pytest.mark.parametrize(("text", "value"), [("", (0, 1.0)), ("20x10", (20, 10)), ("1x.5", None)])
def test_tail(text, value):
    if value is None:
        with pytest.raises(ValueError, match="tail"):
            parse_tail(text)
    else:
        assert parse_tail(text) == value


def test_tokens():
    assert parse_tokens("40") == (40, 40)
    assert parse_tokens("20-80") == (20, 80)


def test_rules_for_one_target_add_up():
    rules = SimParams(faults=("gpt-4.1!tokens=60", "gpt-4.1!cut=40", "503")).rules()
    assert [fault.name for fault in rules["gpt-4.1"]] == ["tokens", "cut"]
    assert [fault.name for fault in rules["*"]] == ["503"]

"""One value at a time: what is mended, what is copied, and where there is no hope."""

import json

import pytest

from kproxy.guard.mend import MAX_DEPTH, Hopeless, Mender, TooMany


def mended(text: str, steps: int = 1_000) -> Mender:
    mender = Mender(text, 0, steps)
    mender.run()
    return mender


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ('{"a": 1,}', '{"a": 1}'),
        ('{"a": 1 "b": 2}', '{"a": 1, "b": 2}'),
        ('{"a" = 1}', '{"a": 1}'),
        ('{"a" [1]}', '{"a":[1]}'),
        ("{a: 1, $b: 2, c-d: 3, 4: 5}", '{"a": 1, "$b": 2, "c-d": 3, "4": 5}'),
        ('{"a": True, "b": NaN}', '{"a": true, "b": null}'),
        ('{"a": [1, 2}', '{"a": [1, 2]}'),
        ('[{"a": 1} {"b": 2}]', '[{"a": 1}, {"b": 2}]'),
        ('{"a": /* x */ 1}', '{"a": 1}'),
        ("[+1, .5, 5., 1_0]", "[1, 0.5, 5, 10]"),
        ('{"a": {"b": [1', '{"a": {"b": [1]}}'),
    ],
)
def test_mended(text: str, result: str) -> None:
    assert mended(text).result == result


@pytest.mark.parametrize(
    "text",
    ['{"a": }', "[1, ...]", "{a}", '{"a": 1,', "[1,", "[1,,2]", "{", "[[[", '{"a"', '{"a": b}',
     '{"a": 01}', '{"a": 1"b": 2}'],
)  # fmt: skip
def test_hopeless(text: str) -> None:
    with pytest.raises(Hopeless):
        mended(text)


def test_what_is_good_is_copied_byte_for_byte() -> None:
    text = '{ "a" :\t[ 1.50,\n{"b":"\\u00e4"} ] , "c":-0e+1 }'
    assert mended(text).result == text
    assert mended(text).done == {}


def test_it_ends_behind_its_value() -> None:
    mender = mended('{"a": 1} and more')
    assert (mender.result, mender.at) == ('{"a": 1}', 8)


def test_a_fence_is_the_end_of_the_text() -> None:
    assert mended('{"a": [1\n```\nand [more]').result == '{"a": [1]}'


def test_whether_it_had_begun() -> None:
    for text, begun in (("{x}", False), ("[text](url)", False), ('{"a": }', True), ("[1 x]", True)):
        mender = Mender(text, 0)
        with pytest.raises(Hopeless):
            mender.run()
        assert mender.begun is begun, text


def test_a_bracket_that_closes_another_is_noted() -> None:
    assert mended('{"a": [1}').torn
    assert not mended('{"a": [1').torn


def test_depth_is_bounded() -> None:
    text = "[" * MAX_DEPTH + "1" + "]" * MAX_DEPTH
    assert json.loads(mended(text.replace("1", "+1")).result)
    with pytest.raises(Hopeless):
        mended("[" * 4 + text)  # some levels may be copied in one go


def test_steps_are_bounded() -> None:
    text = "[" + "+1, " * 50 + "+1]"
    assert mended(text, 52).steps == 0
    with pytest.raises(TooMany):
        mended(text, 51)
    with pytest.raises(TooMany):
        mended('{"a": "' + "\\x " * 50 + '"}', 20)

"""What is said and when: repeatable, bounded by the caller's limit, continued where asked."""

import json
import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.sim import anthropic
from kproxy.sim.params import SimParams
from kproxy.sim.script import Stage, write
from tests.fakes.simulated import CLOCK, HELLO, WEATHER, asked, openai_tools, script

JITTERED = Stage.of(SimParams(seed=4, tail="20x10"))


def many(count, **fields):
    """Scripts of different requests."""
    for number in range(count):
        one = asked(messages=[{"role": "user", "content": str(number)}], **fields)
        yield write(one, one.faults, JITTERED)


def test_the_same_request_gives_the_same_script():
    one = asked()
    first = write(one, (), Stage.of(SimParams(seed=4)))
    list(many(3))
    assert write(asked(), (), Stage.of(SimParams(seed=4))) == first
    assert write(asked(), (), Stage.of(SimParams(seed=5))).times != first.times


def test_exact_times():
    found = script()
    assert found.times == pytest.approx([0.2, 0.21, 0.22, 0.23, 0.24, 0.25])
    assert found.end == found.times[-1]
    assert (found.finish, found.completion_tokens) == ("stop", 6)
    assert len(found.pieces) == len(found.escaped) == 6


def test_times_never_fall_and_lengths_stay_in_range():
    lengths = set()
    for found in many(300):
        assert list(found.times) == sorted(found.times)
        assert len(found.times) == len(found.pieces)
        lengths.add(len(found.times))
    assert 24 <= min(lengths) <= 27
    assert 93 <= max(lengths) <= 96


def test_first_tokens_are_log_normal_with_a_tail():
    first = [found.times[0] for found in many(2000)]
    slow = [time for time in first if time > 0.6]
    usual = [math.log(time / 0.15) for time in first if time <= 0.6]
    assert 0.04 < len(slow) / len(first) < 0.06
    assert statistics.median(slow) == pytest.approx(1.5, rel=0.1)
    assert statistics.fmean(usual) == pytest.approx(0, abs=0.02)
    assert statistics.stdev(usual) == pytest.approx(0.25, abs=0.02)


def test_gaps_are_log_normal():
    found = next(many(1, model="m!tokens=2000"))
    gaps = [after - before for before, after in zip(found.times, found.times[1:], strict=False)]
    assert statistics.median(gaps) == pytest.approx(0.015, rel=0.05)


def test_text_begins_with_a_word():
    assert all(found.text == found.text.lstrip() for found in many(200))


@pytest.mark.parametrize(("limit", "count", "finish"), [(5, 5, "length"), (6, 6, "stop")])
def test_the_callers_limit(limit, count, finish):
    found = script(max_tokens=limit)
    assert (found.completion_tokens, found.finish) == (count, finish)
    assert script().text.startswith(found.text)
    assert script(max_completion_tokens=limit) == found


@given(st.data())
def test_an_answer_is_continued_from_any_character(data):
    text = script().text
    said = text[: data.draw(st.integers(0, len(text)))]
    found = script(messages=[*HELLO, {"role": "assistant", "content": said}])
    assert said + found.text == text
    assert len(found.pieces) == len(found.escaped) == len(found.times)


def test_another_providers_answer_is_continued_in_our_own_words():
    found = script(messages=[*HELLO, {"role": "assistant", "content": "One two three"}])
    assert found.pieces == script().pieces[3:]
    long = script(messages=[*HELLO, {"role": "assistant", "content": "word " * 50}])
    assert long.completion_tokens == 1


def test_json_mode_gives_an_object():
    found = script(response_format={"type": "json_object"})
    assert isinstance(json.loads(found.text), dict)
    assert found.completion_tokens > 3


def test_json_schema_gives_an_instance():
    schema = {
        "type": "object",
        "properties": {"kind": {"enum": ["a"]}, "more": {"type": "array", "items": {"const": 2}}},
        "required": ["kind", "more"],
    }
    shape = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
    found = json.loads(script(response_format=shape).text)
    assert found["kind"] == "a"
    assert set(found["more"]) == {2}


def test_json_that_is_cut_says_so():
    found = script(response_format={"type": "json_object"}, max_tokens=2)
    assert found.finish == "length"
    with pytest.raises(json.JSONDecodeError):
        json.loads(found.text)


def arguments(call):
    return json.loads(json.loads(b'"%b"' % b"".join(call.escaped)))


@pytest.mark.parametrize("fence", ["```python", "```"])
def test_a_tool_that_takes_code_is_called_with_the_users(fence):
    properties = {"code": {"type": "string"}, "n": {"type": "integer"}}
    tool = {"name": "run", "schema": {"type": "object", "properties": properties}}
    said = f"Run this:\n{fence}\nprint(1)\n```\nplease"
    messages = [{"role": "user", "content": said}]
    (call,) = script(tools=openai_tools(tool), messages=messages).calls
    text = b"".join(call.escaped).decode()
    arguments = json.loads(json.loads(f'"{text}"'))
    assert arguments["code"] == "print(1)\n"
    (other,) = script(tools=openai_tools(WEATHER), messages=messages).calls
    assert b"print" not in b"".join(other.escaped)


def test_two_tools_are_called_in_parallel():
    found = script(tools=openai_tools(WEATHER, CLOCK, WEATHER))
    assert [call.name for call in found.calls] == ["get_weather", "get_time"]
    assert arguments(found.calls[0])["unit"] in ("celsius", "fahrenheit")
    assert arguments(found.calls[1]) == {}
    assert found.finish == "tool_calls"
    assert found.calls[0].ident != found.calls[1].ident
    assert found.completion_tokens == sum(1 + len(call.escaped) for call in found.calls)


def test_calls_end_at_the_callers_limit():
    tools = openai_tools(WEATHER, CLOCK)
    whole = script(tools=tools)
    for limit in range(1, whole.completion_tokens + 1):
        found = script(tools=tools, max_tokens=limit)
        assert found.completion_tokens == limit
        assert sum(1 + len(call.escaped) for call in found.calls) == limit
    assert found == whole


def test_numbers_of_any_size():
    shape = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"const": 2**70}}}
    assert json.loads(script(response_format=shape).text) == 2**70


def test_choices_of_the_models_name():
    assert script(model="m!tokens=9").completion_tokens == 9
    assert script(model="m!tokens=0").completion_tokens == 0
    assert script(model="m!pace=30,2").times[:2] == pytest.approx([0.03, 0.032])
    assert script(model="m!pace").end == 0
    said = "Say  this:\n```json\n{'a': 1,}\n``` "
    messages = [{"role": "user", "content": said}]
    assert script(model="m!echo", messages=messages).text == said
    assert script(model="m!echo", messages=messages, tools=openai_tools(CLOCK)).text == said


def test_pace_of_the_models_name_has_no_tail():
    ends = {found.end for found in many(100, model="m!pace=5")}
    assert ends == {0.005}


def test_reasoning_comes_first_and_is_no_text():
    found = script(model="m!reasoning=2")
    assert (found.reasoning, found.text) == (2, "".join(script(model="m").pieces[2:]))


def test_content_filter_after_some_tokens():
    found = script(model="m!content-filter=2")
    assert (found.completion_tokens, found.finish) == (2, "content_filter")


def test_long_prompts_are_partly_cached():
    assert script().cached_tokens == 0
    found = script(messages=[{"role": "user", "content": "x" * 9000}])
    assert 0 < found.cached_tokens < found.prompt_tokens
    assert found.cached_tokens % 128 == 0


def test_both_wires_share_the_decision():
    assert script(wire=anthropic, max_tokens=3).finish == "length"
    assert script(wire=anthropic).finish == "stop"

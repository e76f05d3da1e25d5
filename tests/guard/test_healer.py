"""Streams: what leaves while they run, what is due at their end, and what is said of it."""

import json

import pytest

from kproxy.guard.forms import read_forms
from kproxy.guard.heal import Form, Healed, heal
from kproxy.guard.healer import MAX_TEXT, Healer, stream_healer
from kproxy.guard.schemas import peek_schema, read_schema
from kproxy.schema.chat import decode_chat
from kproxy.schema.jsonlimits import JsonLimits
from tests.guard.corpus.cases import corpus
from tests.guard.corpus.values import VALUES

CORPUS = corpus()
SIZE = 7


def played(healer: Healer, text: str, finish: str = "stop") -> tuple[str, str]:
    """What left while the text came, and what was due at its end."""
    pieces = [text[at : at + SIZE] for at in range(0, len(text), SIZE)]
    return "".join(healer.text(0, piece) for piece in pieces), healer.end(0, finish)


def streaming(schema: object = None) -> Healer:
    form = Form() if schema is None else Form(read_schema(json.dumps(schema).encode(), "s"))
    return Healer(form, whole=False)


def test_a_good_stream_leaves_as_it_comes() -> None:
    for value in VALUES:
        text, healer = json.dumps(value), streaming()
        early, due = played(healer, text)
        assert early + due == text
        assert len(due) <= 1
        assert healer.reports[0].healed is None


def test_a_stream_becomes_what_the_whole_would() -> None:
    """Or, where that does not begin with what has left, it stays as it came and says so."""
    streamed = 0
    for case in CORPUS:
        healer = streaming()
        early, due = played(healer, case.text)
        report, whole = healer.reports.get(0), heal(case.text, "stop", Form())
        if report is not None and report.why == "streamed":
            assert early + due == case.text
            streamed += 1
        else:
            assert early + due == whole.text
    assert streamed <= len(CORPUS) // 100


def test_a_buffer_holds_everything() -> None:
    for case in CORPUS[::10]:
        early, due = played(Healer(Form(), whole=True), case.text)
        assert (early, due) == ("", heal(case.text, "stop", Form()).text)


def test_from_the_first_doubt_on_it_waits() -> None:
    healer = streaming()
    assert healer.text(0, '{"a": 1, "b": ') == '{"a": '
    assert healer.text(0, "Tr") + healer.text(0, 'ue, "c": "x"}') == ""
    assert healer.end(0, "stop") == '1, "b": true, "c": "x"}'
    assert healer.reports[0].done == ("literals",)


def test_a_cut_stream_is_not_completed() -> None:
    healer = streaming()
    early, due = played(healer, '{"a": [1, 2', "length")
    assert early + due == '{"a": [1, 2'
    assert (healer.reports[0].healed, healer.reports[0].why) == (False, "length")


def test_what_the_schema_refuses_in_the_end_is_told() -> None:
    healer = streaming({"type": "object", "properties": {"a": {"minimum": 5}}})
    early, due = played(healer, '{"a": 1}')
    assert early + due == '{"a": 1}'
    assert (healer.reports[0].healed, healer.reports[0].why) == (False, "schema")


def test_a_type_is_corrected_in_a_stream() -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "n": {"type": "integer"}},
    }
    healer = streaming(schema)
    early, due = played(healer, '{"name": "Ann", "n": "12"}')
    assert json.loads(early + due) == {"name": "Ann", "n": 12}
    assert early.startswith('{"name": "Ann')


@pytest.mark.parametrize("whole", [True, False])
def test_a_text_that_is_too_long_goes_on_as_it_comes(whole: bool) -> None:
    healer = Healer(Form(), whole=whole)
    text = "{x" + "a" * MAX_TEXT
    early, due = played(healer, text)
    assert (early, due) == (text, "")
    assert healer.reports[0].why == "too_large"


def test_a_schema_that_takes_long_is_not_checked_in_a_stream() -> None:
    twice = {"allOf": [{"properties": {"a": {"$ref": "#"}}}] * 2}
    healer = streaming(twice)
    text = '{"a":' * 40 + "True" + "}" * 40
    early, due = played(healer, text)
    assert (early + due, healer.reports[0].why) == (text, "too_large")


@pytest.mark.parametrize("whole", [True, False])
def test_by_a_large_schema_nothing_is_checked_in_a_stream(whole: bool) -> None:
    large = peek_schema(json.dumps({"allOf": [{"pattern": "x"}] * 9}).encode(), "s")
    healer = Healer(Form(large), whole=whole)
    early, due = played(healer, "{'a': 1}")
    assert early + due == '{"a": 1}'
    assert "unchecked" in healer.reports[0].done


def test_of_a_text_that_is_too_long_nothing_is_kept() -> None:
    healer = Healer(Form(), whole=True)
    for _ in range(4):
        healer.text(0, "x" * MAX_TEXT)
        known = healer._choices[0]
        assert sum(map(len, (*known.left, *known.held))) <= MAX_TEXT
    assert healer.end(0, "stop") == ""
    assert healer.reports[0] == Healed("", healed=False, why="too_large")


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("finish", ["tool_calls", "function_call"])
def test_words_beside_a_call_are_no_answer(whole: bool, finish: str) -> None:
    """Held, since a value stands in them, and given back as they came."""
    text, healer = "Looking up {'a': 1} now", Healer(Form(), whole=whole)
    early, due = played(healer, text, finish)
    assert early + due == text
    assert healer.reports == {}
    assert healer.text(0, "more") == "more"


def test_choices_are_apart() -> None:
    healer = Healer(Form(), whole=True)
    healer.text(0, "{'a':")
    healer.text(1, "no")
    healer.text(0, " 1}")
    assert healer.end(1, "stop") == "no"
    assert healer.end(0, "stop") == '{"a": 1}'
    assert [healer.reports[at].healed for at in (0, 1)] == [True, False]


def test_behind_its_end_nothing_is_healed() -> None:
    healer = streaming()
    played(healer, "{}")
    assert healer.text(0, "more") == "more"
    assert healer.end(0, "stop") == ""


def test_a_choice_without_text_is_no_report() -> None:
    healer = streaming()
    assert healer.end(0, "tool_calls") == ""
    assert healer.reports == {}


@pytest.mark.parametrize(("heal", "way"), [("buffer", True), ("stream", True), (None, False)])
def test_only_a_stream_that_asks_for_it_has_a_healer(heal: str | None, way: bool) -> None:
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "x"}],
        "stream": True,
        "response_format": {"type": "json_object"},
        "x_kairosroute": {"heal": heal},
    }
    call = decode_chat(json.dumps(body).encode(), JsonLimits())
    assert (stream_healer(read_forms(call.request, call.fields)) is not None) is way

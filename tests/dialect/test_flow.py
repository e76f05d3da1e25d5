"""One streamed answer: what passes, what waits, what is hidden, where our extension stands."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.dialect.flow import MAX_BEFORE_TOKEN, FlowState, splice, untag
from kproxy.errors import Fault, FaultKind
from tests.fakes.cuts import cut, every_cut, positions
from tests.fakes.stream import (
    DONE,
    ONE,
    ROLE,
    SPLICE,
    STOP,
    TAG,
    TWO,
    USAGE,
    USED,
    Reading,
    chunk,
    empty,
    event,
    read,
    tagged,
)

FILTER = empty(prompt_filter_results=[{"prompt_index": 0}])
TOOL = chunk({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]})
THOUGHT = chunk({"reasoning_content": "Hm"})
TOLD_STOP = chunk(finish="stop", usage=USED)
MALFORMED = b'data: {"choices":[{"delta":\n\n'
ERROR = event({"error": {"message": "overloaded"}})


# --- where x_kairosroute stands


@pytest.mark.parametrize(
    ("wants", "events", "out"),
    [
        pytest.param(False, (STOP, USAGE, DONE), tagged(STOP), id="not asked, usage is hidden"),
        pytest.param(True, (STOP, USAGE, DONE), STOP + tagged(USAGE), id="asked, usage carries it"),
        pytest.param(False, (TOLD_STOP, DONE), tagged(TOLD_STOP), id="usage on the finish chunk"),
        pytest.param(True, (TOLD_STOP, DONE), tagged(TOLD_STOP), id="asked, on the finish chunk"),
        pytest.param(False, (STOP, DONE), tagged(STOP), id="no usage at all"),
        pytest.param(True, (STOP, DONE), tagged(STOP), id="asked, no usage at all"),
        pytest.param(False, (STOP, USAGE), tagged(STOP), id="no [DONE] behind the usage"),
        pytest.param(True, (STOP, USAGE), STOP + tagged(USAGE), id="asked, no [DONE]"),
        pytest.param(False, (STOP,), tagged(STOP), id="an end behind the finish chunk"),
        pytest.param(False, (STOP, TWO, DONE), STOP + tagged(TWO), id="content behind the finish"),
        pytest.param(False, (STOP, TWO, USAGE, DONE), STOP + tagged(TWO), id="content, then usage"),
        pytest.param(False, (STOP, STOP, DONE), STOP + tagged(STOP), id="finished twice"),
        pytest.param(False, (USAGE, STOP, DONE), tagged(STOP), id="usage before the finish"),
        pytest.param(True, (USAGE, STOP, DONE), USAGE + tagged(STOP), id="asked, usage before"),
        pytest.param(
            True, (STOP, FILTER, USAGE, DONE), STOP + FILTER + tagged(USAGE), id="filter results"
        ),
        pytest.param(True, (STOP, FILTER, DONE), STOP + tagged(FILTER), id="filter results last"),
        pytest.param(False, (STOP, FILTER, USAGE, DONE), tagged(STOP), id="hidden filter results"),
        pytest.param(
            False, (STOP, USAGE, USAGE, TWO, DONE), tagged(STOP) + TWO, id="more behind the usage"
        ),
        pytest.param(
            True, (STOP, USAGE, USAGE, DONE), STOP + tagged(USAGE) + USAGE, id="usage twice"
        ),
    ],
)
def test_the_extension_stands_once_on_the_last_chunk(
    wants: bool, events: tuple[bytes, ...], out: bytes
) -> None:
    found = read(ROLE, ONE, *events, wants=wants)
    assert found.out == ROLE + ONE + out + DONE
    assert (found.state, found.placed, found.fault) == (FlowState.DONE, 1, None)


@pytest.mark.parametrize(
    ("events", "known"),
    [
        ((STOP, USAGE, DONE), True),
        ((TOLD_STOP, DONE), True),
        ((STOP, DONE), False),
        ((STOP,), False),
        ((USAGE, STOP), True),
    ],
)
def test_the_extension_is_made_of_the_usage_when_it_is_known(
    events: tuple[bytes, ...], known: bool
) -> None:
    reading = Reading()
    reading.read([ONE, *events])
    (usage,) = reading.seen
    assert (usage is not None and usage.completion_tokens == 3) is known


def test_cumulative_usage_in_every_chunk_counts_once_and_last() -> None:
    def running(tokens: int, **fields: object) -> bytes:
        usage = {"prompt_tokens": 7, "completion_tokens": tokens}
        return chunk(**fields, usage=usage)  # type: ignore[arg-type]

    chunks = [running(1, delta={"content": "a"}), running(2, delta={"content": "b"})]
    last = running(3, finish="stop")
    found = read(*chunks, last, DONE)
    assert found.out == b"".join(chunks) + tagged(last) + DONE
    assert found.usage is not None
    assert found.usage.completion_tokens == 3


# --- several choices


def test_the_last_of_several_finish_reasons_waits() -> None:
    first, second = chunk(finish="stop"), chunk(finish="stop", index=1)
    found = read(ONE, first, chunk({"content": "x"}, index=1), second, USAGE, DONE, choices=2)
    assert found.out == ONE + first + chunk({"content": "x"}, index=1) + tagged(second) + DONE


def test_it_is_remembered_why_choices_have_ended_and_who_spoke() -> None:
    reading = Reading(choices=2)
    last = chunk(finish="length", index=1, model="m-1")
    for one in (ONE, STOP, last, USAGE, DONE):
        reading.flow.take(one)
    assert (reading.flow.reasons, reading.flow.model) == (("stop", "length"), "m-1")


def test_one_choice_that_finishes_twice_is_not_two_choices() -> None:
    assert read(ONE, STOP, STOP, choices=2).fault is FaultKind.CLOSED_EARLY


def test_two_choices_that_finish_in_one_chunk() -> None:
    both = event({"choices": [{"index": n, "delta": {}, "finish_reason": "stop"} for n in (0, 1)]})
    assert read(ONE, both, choices=2).out == ONE + tagged(both) + DONE


@pytest.mark.parametrize("wants", [False, True])
def test_a_provider_that_gives_one_choice_of_two_ends_well_with_done(wants: bool) -> None:
    found = read(ONE, STOP, USAGE, DONE, choices=2, wants=wants)
    assert found.out == ONE + (STOP + tagged(USAGE) if wants else tagged(STOP)) + DONE
    assert found.placed == 1


@pytest.mark.parametrize("wants", [False, True])
def test_a_stream_cut_behind_one_of_two_finish_reasons_is_cut(wants: bool) -> None:
    found = read(ONE, STOP, USAGE, choices=2, wants=wants)
    assert found.fault is FaultKind.CLOSED_EARLY
    assert (found.out, found.placed) == (ONE + STOP * wants, 0)


def test_done_while_a_choice_still_speaks_is_no_good_end() -> None:
    open_choice = chunk({"content": "x"}, index=1)
    assert read(ONE, STOP, open_choice, DONE, choices=2).fault is FaultKind.NO_CONTENT


# --- the commit point


@pytest.mark.parametrize("token", [ONE, THOUGHT, TOOL, chunk({"refusal": "No."}), STOP])
def test_nothing_leaves_before_the_first_token(token: bytes) -> None:
    flow = Reading().flow
    assert flow.take(b": hello\n\n" + ROLE) == b""
    assert not flow.committed
    out = flow.take(token)
    assert flow.committed
    assert out == (ROLE if token is STOP else ROLE + token)


@pytest.mark.parametrize("delta", [{}, {"role": "assistant"}, {"content": None}, {"content": ""}])
def test_a_role_alone_commits_nothing(delta: dict[str, object]) -> None:
    flow = Reading().flow
    assert flow.take(chunk(delta)) == b""
    assert not flow.committed


@pytest.mark.parametrize("wants", [False, True])
def test_a_preamble_without_choices_is_for_who_asked_for_usage(wants: bool) -> None:
    found = read(FILTER, ROLE, ONE, STOP, DONE, wants=wants)
    assert found.out == FILTER * wants + ROLE + ONE + tagged(STOP) + DONE


def test_comments_pass_where_nothing_waits() -> None:
    sign = b": alive\n\n"
    found = read(sign, ROLE, sign, ONE, sign, TWO, sign, STOP, sign, USAGE, sign, DONE, sign)
    assert found.out == ROLE + ONE + sign + TWO + sign + tagged(STOP) + sign + DONE


@pytest.mark.parametrize("nothing", [b"data:\n\n", b"data: \n\n", b"event: ping\ndata:\n\n"])
def test_an_event_with_empty_data_is_none(nothing: bytes) -> None:
    found = read(nothing, ONE, nothing, STOP, nothing, DONE)
    assert found.out == ONE + tagged(STOP) + DONE


@pytest.mark.parametrize("wants", [False, True])
def test_what_gathers_before_the_first_token_is_bounded(wants: bool) -> None:
    big = chunk({"role": "assistant"}, pad="x" * 3000)
    if wants:
        big = empty(pad="x" * 3000)
    flow = Reading(wants=wants).flow
    fits = MAX_BEFORE_TOKEN // len(big)
    for _ in range(fits):
        assert flow.take(big) == b""
    with pytest.raises(Fault) as fault:
        flow.take(big)
    assert fault.value.kind is FaultKind.TOO_LARGE


# --- bad ends


@pytest.mark.parametrize(
    ("events", "kind"),
    [
        ((DONE,), FaultKind.NO_CONTENT),
        ((ROLE, DONE), FaultKind.NO_CONTENT),
        ((ROLE, ONE, DONE), FaultKind.NO_CONTENT),
        ((), FaultKind.CLOSED_EARLY),
        ((ROLE, ONE), FaultKind.CLOSED_EARLY),
        ((ROLE, ONE, USAGE), FaultKind.CLOSED_EARLY),
        ((ROLE, ONE, STOP[:-1]), FaultKind.CLOSED_EARLY),
        ((ROLE, ERROR), FaultKind.ERROR_EVENT),
        ((ROLE, ONE, ERROR), FaultKind.ERROR_EVENT),
        ((ROLE, ONE, STOP, ERROR), FaultKind.ERROR_EVENT),
        ((ROLE, ONE, b"event: error\ndata: {}\n\n"), FaultKind.ERROR_EVENT),
        ((ROLE, ONE, b"event: error\ndata: no JSON\n\n"), FaultKind.ERROR_EVENT),
        ((ROLE, ONE, MALFORMED), FaultKind.BAD_BODY),
        ((ROLE, ONE, b": \xff\n\n"), FaultKind.BAD_BODY),
        ((ROLE, ONE, b"id: \xff\n" + TWO), FaultKind.BAD_BODY),
        ((ROLE, ONE, STOP, MALFORMED), FaultKind.BAD_BODY),
        ((ROLE, ONE, b"data: []\n\n"), FaultKind.BAD_BODY),
        ((ROLE, ONE, b"data: \xff\n\n"), FaultKind.BAD_BODY),
        ((ROLE, ONE, b"data: " + b"[" * 100_000), FaultKind.TOO_LARGE),
    ],
)
@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("wants", [False, True])
def test_a_stream_that_ends_badly_never_looks_complete(
    events: tuple[bytes, ...], kind: FaultKind, joined: bool, wants: bool
) -> None:
    found = Reading(wants=wants).read([b"".join(events)] if joined else list(events))
    assert found.fault is kind
    assert DONE not in found.out
    assert SPLICE not in found.out
    # What had passed stays said; where all came at once and the limit broke, it is lost.
    assert found.out in (b"", ROLE + ONE, ROLE + ONE + USAGE)
    assert (found.out == b"") == (ONE not in events or (joined and kind is FaultKind.TOO_LARGE))


def test_nothing_is_forwarded_behind_done() -> None:
    found = read(ONE, STOP, DONE + TWO, ERROR, MALFORMED, DONE)
    assert found.out == ONE + tagged(STOP) + DONE
    assert found.text == len("One")


def test_an_event_at_the_limit_passes_and_one_past_it_does_not() -> None:
    def of_size(size: int) -> bytes:
        return chunk({"content": "x" * (size - len(chunk({"content": ""})) + 2)})

    assert Reading(limit=300).read([of_size(300)]).out == of_size(300)
    assert Reading(limit=300).read([of_size(301)]).fault is FaultKind.TOO_LARGE


# --- bytes


def test_one_whole_event_comes_back_as_the_very_object() -> None:
    flow = Reading().flow
    flow.take(ROLE + ONE)
    for payload in (TWO, b": alive\n\n", TOOL):
        assert flow.take(payload) is payload


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("wants", [False, True])
def test_line_ends_are_the_providers(end: bytes, wants: bool) -> None:
    events = [one.replace(b"\n", end) for one in (ROLE, ONE, STOP, USAGE)]
    carrier = tagged(events[3]) if wants else tagged(events[2])
    out = b"".join(events[: 2 + wants]) + carrier + DONE
    for done in (DONE.replace(b"\n", end), b""):
        for pieces in every_cut(b"".join(events) + done):
            found = Reading(wants=wants).read(pieces)
            assert (found.out, found.fault) == (out, None)


def test_fields_around_the_data_stay_where_they_are() -> None:
    data = STOP[6:-2]
    strange = b"id: }1\nevent: x{\ndata: %b\n: }\nretry: 5\n\n" % data
    out = b"id: }1\nevent: x{\ndata: %b\n: }\nretry: 5\n\n" % splice(data, TAG)
    assert read(ONE, strange, DONE).out == ONE + out + DONE


def test_data_of_several_lines_becomes_one_where_it_must_change() -> None:
    lines = (
        b'data: {"choices": [{"index": 0,\ndata: "delta": {},\ndata: "finish_reason": "stop"}]}\n\n'
    )
    found = read(ONE, lines, DONE).out.removeprefix(ONE).removesuffix(DONE)
    assert found.count(b"\n") == 2
    last = json.loads(found.removeprefix(b"data: "))
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["x_kairosroute"] == json.loads(TAG)


def test_a_kproxy_behind_a_kproxy_is_never_heard_twice() -> None:
    theirs = {"provider": "Theirs", "cost_usd": 1}
    stop, usage = (
        chunk(finish="stop", x_kairosroute=theirs),
        empty(usage=USED, x_kairosroute=theirs),
    )
    odd = chunk({"content": "x"}, x_kairosroute=None)
    for events, out in (
        ((ONE, stop, DONE), ONE + tagged(STOP)),
        ((ONE, STOP, usage, DONE), ONE + tagged(STOP)),
        ((odd, odd, STOP, DONE), chunk({"content": "x"}) * 2 + tagged(STOP)),
        ((ONE, STOP, USAGE, odd, DONE), ONE + tagged(STOP) + chunk({"content": "x"})),
    ):
        assert read(*events).out == out + DONE
    assert read(ONE, STOP, usage, DONE, wants=True).out == ONE + STOP + tagged(USAGE) + DONE


def test_splice_and_untag_take_any_object() -> None:
    assert splice(b"{}", b"1") == b'{"x_kairosroute":1}'
    assert splice(b' { "a" : {} \n } ', b"1") == b' { "a" : {},"x_kairosroute":1} '
    assert untag(b'{"a":1.0,"x_kairosroute":{"b":2},"x_kairosroute":3}') == b'{"a":1.0}'
    assert read(ONE, STOP, b"data: {}\n\n", DONE, wants=True).out.endswith(
        b'data: {"x_kairosroute":%b}\n\n%b' % (TAG, DONE)
    )


# --- properties

SIGN = b": alive\n\n"
BEFORE = st.lists(st.sampled_from([SIGN, b"\n", ROLE, FILTER]), max_size=4)
INSIDE = st.lists(st.sampled_from([SIGN, ONE, TWO, TOOL, THOUGHT, ROLE, FILTER]), max_size=8)
BEHIND = st.lists(st.sampled_from([SIGN, FILTER, TWO, STOP]), max_size=3)
USAGES = st.sampled_from([(), (USAGE,), (USAGE, SIGN)])
ENDS = st.sampled_from([(), (DONE,), (DONE, TWO, ERROR)])


@st.composite
def good_streams(draw: st.DrawFn) -> list[bytes]:
    """Events of a stream that ends well."""
    finish = draw(st.sampled_from([STOP, TOLD_STOP]))
    body = [*draw(BEFORE), *draw(INSIDE), finish, *draw(BEHIND)]
    return [*body, *draw(USAGES), *draw(ENDS)]


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Bytes of a stream that may end in any way."""
    events = draw(good_streams())
    odd = st.sampled_from([ERROR, MALFORMED, DONE, b"event: error\ndata: 1\n\n", b"data: {}\r\r\n"])
    for at, one in draw(st.lists(st.tuples(st.integers(0, 12), odd), max_size=1)):
        events.insert(at, one)
    data = b"".join(events)
    return data[: draw(st.integers(0, 2 * len(data)))]


@given(streams(), positions, st.booleans(), st.integers(1, 2))
def test_a_cut_anywhere_changes_nothing(
    data: bytes, at: list[int], wants: bool, choices: int
) -> None:
    whole = Reading(choices, wants=wants).read([data])
    assert Reading(choices, wants=wants).read(cut(data, at)) == whole


@given(good_streams(), positions, st.booleans())
def test_what_comes_out_is_what_came_in_less_what_is_hidden(
    events: list[bytes], at: list[int], wants: bool
) -> None:
    said = events[: events.index(DONE)] if DONE in events else events
    hidden = () if wants else (FILTER, USAGE)
    visible = [one for one in said if one not in (SIGN, b"\n", *hidden)]
    found = Reading(wants=wants).read(cut(b"".join(events), at))
    assert found.fault is None
    assert found.out.count(SPLICE) == 1
    out = found.out.replace(SIGN, b"").replace(SPLICE, b"")
    assert out.replace(b"}\n\n\n", b"}\n\n") == b"".join(visible) + DONE


@given(good_streams(), st.booleans())
def test_the_carrier_is_the_usage_that_was_asked_for_or_the_last_chunk(
    events: list[bytes], wants: bool
) -> None:
    said = events[: events.index(DONE)] if DONE in events else events
    chunks = [one for one in said if one.startswith(b"data") and one not in (FILTER, USAGE)]
    carrier = chunks[-1]
    if wants:
        tail = [one for one in said if one not in (SIGN, b"\n")]
        carrier = USAGE if USAGE in said else tail[-1]
    out = read(*events, wants=wants).out
    assert out.count(tagged(carrier)) == 1
    assert out.replace(SIGN, b"").endswith(tagged(carrier) + DONE)


def test_reasons_are_remembered_once_for_each_choice() -> None:
    """A provider may say it in every chunk, at any length."""
    reading = Reading(choices=30)
    for index in [*range(20), *([0] * 5_000)]:
        reading.flow.take(chunk({"content": "a"}, finish="x" * 1_000, index=index))
    assert reading.flow.reasons == ("x" * 128,) * 16

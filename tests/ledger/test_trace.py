"""Who is recorded, under which ids, and what providers are told of it."""

from collections.abc import Callable
from itertools import count

import pytest

from kproxy.ledger.trace import Asked, Parameters, Sampler, begin_trace
from kproxy.outcome import AttemptOutcome, Ending
from kproxy.wire.tracecontext import TraceContext

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HALF = "0" * 16 + "7" + "f" * 15
"""An id of the lower half, by its last eight bytes."""


def given(flags: str = "01", state: bytes = b"") -> TraceContext:
    return TraceContext(f"00-{TRACE}-{SPAN}-{flags}".encode(), state)


def drawn() -> Callable[[int], str]:
    numbers = count(1)
    return lambda size: f"{next(numbers):0{2 * size}x}"


def test_a_recorded_request_stands_under_its_caller() -> None:
    trace = begin_trace(given(state=b"a=1"), Sampler(), drawn())
    assert trace.sampled
    assert (trace.trace_id, trace.context.span_id) == (TRACE, f"{1:016x}")
    passed = [(b"openai-beta", b"x"), *given(state=b"a=1").fields()]
    span_id, fields = trace.ask(passed)
    assert span_id == f"{2:016x}"
    assert fields == [
        (b"openai-beta", b"x"),
        (b"traceparent", f"00-{TRACE}-{span_id}-01".encode()),
        (b"tracestate", b"a=1"),
    ]
    assert trace.ask(passed)[0] == f"{3:016x}", "each attempt has its own"


def test_a_request_without_a_context_begins_a_trace() -> None:
    trace = begin_trace(None, Sampler(), drawn())
    assert trace.sampled
    assert trace.given is None
    span_id, fields = trace.ask([])
    assert fields == [(b"traceparent", f"00-{1:032x}-{span_id}-01".encode())]


def test_a_caller_that_does_not_record_is_followed() -> None:
    trace = begin_trace(given("00"), Sampler(), drawn())
    assert not trace.sampled
    passed = given("00").fields()
    assert trace.ask(passed) == ("", passed)


def test_who_is_not_recorded_starts_no_trace_at_a_provider() -> None:
    trace = begin_trace(None, Sampler(ratio=0), drawn())
    assert not trace.sampled
    assert trace.ask([]) == ("", [(b"traceparent", f"00-{1:032x}-{2:016x}-00".encode())])


def test_a_caller_may_not_be_followed() -> None:
    assert begin_trace(given("00"), Sampler(follow=False), drawn()).sampled
    aside = begin_trace(given("01"), Sampler(ratio=0, follow=False), drawn())
    assert not aside.sampled
    passed = given("01").fields()
    assert aside.ask(passed) == ("", passed), "no span of ours stands between"


def test_that_an_id_is_random_goes_on_with_it_and_unknown_flags_do_not() -> None:
    trace = begin_trace(given("ff"), Sampler(), drawn())
    assert trace.context.parent.endswith(b"-03")


@pytest.mark.parametrize(
    ("ratio", "trace_id", "taken"),
    [
        (1.0, "f" * 32, True),
        (0.0, "0" * 31 + "1", False),
        (0.5, HALF, True),
        (0.5, "0" * 16 + "8" + "0" * 15, False),
        (0.5, "f" * 16 + HALF[16:], True),  # by the last eight bytes alone
    ],
)
def test_a_share_is_taken_by_the_id(ratio: float, trace_id: str, taken: bool) -> None:
    assert Sampler(ratio).takes(trace_id, None) is taken


def test_what_follows_is_another_value() -> None:
    begun = begin_trace(given(), Sampler(), drawn())
    outcome = AttemptOutcome("m", "acme", 0.0, None, 1.0, Ending.COMPLETE)
    first, second = (Asked(f"{number:016x}", outcome, "m", "h", 80) for number in (2, 3))
    over = begun.asking(Parameters(True, 1, None, None, False)).after(first).after(second)
    assert (begun.attempts, begun.parameters) == ((), None)
    assert over.attempts == (first, second)
    assert over.parameters is not None
    assert (over.context, over.given, over.sampled) == (begun.context, begun.given, True)
    with pytest.raises(AttributeError):
        begun.sampled = False


def test_repr_says_how_it_stands() -> None:
    assert repr(begin_trace(given(), Sampler(), drawn())) == (
        f"<Trace {TRACE} recorded, 0 attempts>"
    )

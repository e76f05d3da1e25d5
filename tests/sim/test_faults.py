"""The language of faults, and those that count requests or seconds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.errors import Rejected
from kproxy.sim.faults import FAULTS, STATUSES, Counters, Fault, parse, parse_rule, split_model


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_stands_without_parameters(name):
    assert parse(name) == Fault(name)
    assert FAULTS[name].says


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("cut=40", Fault("cut", tokens=40)),
        ("cut=40,rst", Fault("cut", tokens=40, word="rst")),
        ("stall=10,0.5", Fault("stall", tokens=10, seconds=0.5)),
        ("429=7", Fault("429", numbers=(7.0,))),
        ("once=500=3,2", Fault("once", numbers=(2.0,), inner=Fault("500", numbers=(3.0,)))),
        ("flap=1,2,reset", Fault("flap", numbers=(1.0, 2.0), inner=Fault("reset"))),
    ],
)
def test_parameters(text, fault):
    assert parse(text) == fault


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "unknown fault ''"),
        ("nonsense", "unknown fault 'nonsense'"),
        ("418", "unknown fault"),
        ("cut=x", "'x' is not a number"),
        ("cut=-1", "not a number"),
        ("cut=1e3", "not a number"),
        ("cut=", "not a number"),
        ("cut=1,both", "knows the words fin, rst"),
        ("cut=1,fin,2", "at most 2 parameters"),
        ("no-done=1", "at most 0 parameters"),
        ("tokens=1000001", "at most 1000000 tokens"),
        ("once=once", "cannot hold another one"),
        ("once=nonsense", "unknown fault"),
    ],
)
def test_what_is_wrong_is_said(text, message):
    with pytest.raises(ValueError, match=message):
        parse(text)


@given(st.text())
def test_any_text_is_a_fault_or_a_value_error(text):
    try:
        parse(text)
    except ValueError:
        return
    assert text.partition("=")[0] in FAULTS


def test_a_model_carries_its_faults():
    assert split_model("gpt-4.1") == ("gpt-4.1", ())
    name, faults = split_model("acme/gpt-4.1!tokens=60!cut=40")
    assert name == "acme/gpt-4.1"
    assert faults == (Fault("tokens", tokens=60), Fault("cut", tokens=40))


def test_an_unknown_suffix_is_the_callers_error():
    with pytest.raises(Rejected) as caught:
        split_model("gpt-4.1!nonsense")
    assert (caught.value.status, caught.value.param) == (400, "model")


@pytest.mark.parametrize(
    ("text", "target", "names"),
    [
        ("cut=40", "*", ["cut"]),
        ("gpt-4.1!cut=40", "gpt-4.1", ["cut"]),
        ("acme/*!503", "acme/*", ["503"]),
        ("!503", "*", ["503"]),
        ("m!tokens=9!cut", "m", ["tokens", "cut"]),
    ],
)
def test_rules(text, target, names):
    found, faults = parse_rule(text)
    assert (found, [fault.name for fault in faults]) == (target, names)


def settled(counters, text, *, model="m", now=0.0):
    return [fault.name for fault in counters.settle(model, (parse(text),), now)]


def test_faults_of_the_request_alone_pass():
    assert settled(Counters(0), "cut=3") == ["cut"]


def test_once_is_over_after_the_first_or_the_first_n():
    counters = Counters(0)
    assert [settled(counters, "once=500") for _ in range(3)] == [["500"], [], []]
    counters = Counters(0)
    assert [settled(counters, "once=reset,2") for _ in range(3)] == [["reset"], ["reset"], []]


def test_models_are_counted_apart():
    counters = Counters(0)
    assert settled(counters, "once", model="a") == ["503"]
    assert settled(counters, "once", model="b") == ["503"]
    assert settled(counters, "once", model="a") == []


def test_flap_by_count():
    counters = Counters(0)
    names = [settled(counters, "flap=2,1,429") for _ in range(6)]
    assert names == [[], [], ["429"], [], [], ["429"]]


def test_flap_by_time():
    counters = Counters(100.0)
    times = [100.0, 104.9, 105.0, 106.9, 107.0, 112.0]
    names = [settled(counters, "flap-seconds=5,2", now=now) for now in times]
    assert names == [[], [], ["503"], ["503"], [], ["503"]]


@pytest.mark.parametrize("text", ["flap=0,0", "flap-seconds=0,0"])
def test_a_spell_of_nothing_does_not_divide_by_it(text):
    settled(Counters(0), text)


def test_counters_forget_the_oldest_model():
    counters = Counters(0)
    settled(counters, "once", model="first")
    for number in range(10_000):
        settled(counters, "once", model=str(number))
    assert settled(counters, "once", model="9999") == []
    assert settled(counters, "once", model="first") == ["503"]


def test_every_status_is_a_fault():
    assert all(str(status) in FAULTS for status in STATUSES)

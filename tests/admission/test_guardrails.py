"""Guardrails as a value: what is stored reads back, and what is shown is exact and in order."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.admission.guardrails import NO_GUARDRAILS, Guardrails, shown

slugs = st.frozensets(st.sampled_from(["a", "b", "c"]))
guardrails = st.builds(
    Guardrails,
    st.none() | st.integers(0, 2**50),
    slugs,
    slugs,
    st.none() | st.floats(0, 1),
)


@given(guardrails)
def test_the_stored_form_reads_back(value: Guardrails) -> None:
    assert msgspec.json.decode(msgspec.json.encode(value), type=Guardrails) == value


def test_a_field_of_a_newer_kproxy_is_not_dropped() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"max_cost": 1, "new": 1}', type=Guardrails)


def test_nothing_set() -> None:
    assert Guardrails() == NO_GUARDRAILS
    assert msgspec.json.encode(NO_GUARDRAILS) == b"{}"
    assert msgspec.json.encode(shown(NO_GUARDRAILS, ())) == (
        b'{"maxCostPerRequestUsd":null,"allowedProviders":[],"excludedProviders":[],'
        b'"minQualityThreshold":null,"providerKeys":[]}'
    )


def test_what_is_shown_is_sorted_and_exact() -> None:
    value = Guardrails(27_000, frozenset("ba"), frozenset("dc"), 0.25)
    assert msgspec.json.encode(shown(value, {"z", "y"})) == (
        b'{"maxCostPerRequestUsd":0.000027,"allowedProviders":["a","b"],'
        b'"excludedProviders":["c","d"],"minQualityThreshold":0.25,"providerKeys":["y","z"]}'
    )

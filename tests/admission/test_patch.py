"""A patch becomes a change: spellings of providers, what is cleared, and nothing repeated."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from kproxy.admission.guardrails import NO_GUARDRAILS, Guardrails
from kproxy.admission.keys import Secret
from kproxy.admission.patch import Change, provider_names, to_change
from kproxy.catalog.load import Provider, load_packaged
from kproxy.errors import Rejected
from kproxy.schema.keys import KeyPatch

NAMES = provider_names(load_packaged().providers.values())
CANARY = "sk-canary-canary"


def change(**fields: Any) -> Change:
    return to_change(KeyPatch(**fields), NAMES)


def refused(**fields: Any) -> Rejected:
    with pytest.raises(Rejected) as caught:
        change(**fields)
    assert (caught.value.status, caught.value.code) == (400, "invalid_request_error")
    assert "canary" not in repr(caught.value) + str(caught.value.param)
    return caught.value


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("openai", "openai"),
        ("OpenAI", "openai"),
        ("OPENAI", "openai"),
        ("together", "together"),
        ("Together AI", "together"),
        ("together ai", "together"),
        (" xAI ", "xai"),
    ],
)
def test_either_spelling_in_any_case(name: str, slug: str) -> None:
    assert change(allowed_providers=[name]).allowed == {slug}
    assert change(excluded_providers=[name]).excluded == {slug}
    assert list(change(provider_keys={name: CANARY}).provider_keys) == [slug]


@pytest.mark.parametrize("name", ["", " ", "open", "openai2", "togetherai", "gpt-4.1", CANARY])
def test_an_unknown_provider_is_not_repeated(name: str) -> None:
    assert refused(allowed_providers=["openai", name]).param == "allowedProviders[1]"
    assert refused(excluded_providers=[name]).param == "excludedProviders[0]"
    rejected = refused(provider_keys={name: CANARY})
    assert rejected.param == "providerKeys"
    assert rejected.message.endswith(
        "there are anthropic, deepseek, fireworks, google, groq, "
        "minimax, mistral, openai, together, xai."
    )


def test_a_slug_is_its_own_and_a_shared_display_name_is_nobodys() -> None:
    providers = [
        Provider("one", "Shared"),
        Provider("two", "shared"),
        Provider("three", "ONE"),
        Provider("four", "Five"),
        Provider("same", "Same"),
    ]
    assert provider_names(providers) == {
        "one": "one", "two": "two", "three": "three", "four": "four", "five": "four",
        "same": "same",
    }  # fmt: skip


def test_absent_changes_nothing() -> None:
    old = Guardrails(5, frozenset("a"), frozenset("b"), 0.5)
    nothing = change()
    assert nothing == Change()
    assert nothing.applied(old) == old
    assert not nothing.touches_keys


@pytest.mark.parametrize("empty", [None, []])
def test_null_and_empty_clear(empty: Any) -> None:
    old = Guardrails(5, frozenset("a"), frozenset("b"), 0.5)
    cleared = change(
        max_cost_per_request_usd=None,
        allowed_providers=empty,
        excluded_providers=empty,
        min_quality_threshold=None,
    )
    assert cleared.applied(old) == NO_GUARDRAILS


@given(
    st.none() | st.integers(0, 10**15),
    st.none() | st.floats(0, 1),
    st.lists(st.sampled_from(["openai", "GROQ"])),
)
def test_one_field_leaves_the_others(cost: int | None, quality: float | None, names: Any) -> None:
    old = Guardrails(cost, frozenset("a"), frozenset("b"), quality)
    new = change(allowed_providers=names).applied(old)
    assert (new.max_cost, new.excluded, new.min_quality) == (cost, frozenset("b"), quality)
    assert new.allowed == {name.lower() for name in names}


@pytest.mark.parametrize(
    ("usd", "nanos"), [(0, 0), (0.0, 0), (0.05, 50_000_000), (1e-9, 1), (1_000_000, 10**15)]
)
def test_a_cost_is_exact(usd: float, nanos: int) -> None:
    assert change(max_cost_per_request_usd=usd).max_cost == nanos


def test_a_cost_finer_than_a_nano_dollar_is_refused() -> None:
    rejected = refused(max_cost_per_request_usd=1.5e-9)
    assert rejected.param == "maxCostPerRequestUsd"
    assert "nine decimals" in rejected.message


def test_provider_keys_are_set_cleared_and_left() -> None:
    some = change(provider_keys={"openai": f" {CANARY}\n", "groq": "", "xai": None, "google": " "})
    assert some.provider_keys == {
        "openai": Secret(CANARY), "groq": None, "xai": None, "google": None,
    }  # fmt: skip
    assert (some.clear_keys, some.touches_keys) == (False, True)
    for empty in (None, {}):
        every = change(provider_keys=empty)
        assert (every.clear_keys, every.touches_keys) == (True, True)
        assert every.provider_keys == {}


@pytest.mark.parametrize(
    "text", [f"{CANARY} x", f"{CANARY}\nhost: x", f"{CANARY}\0", f"é{CANARY}", CANARY * 300]
)
def test_what_cannot_stand_in_a_header_is_no_provider_key(text: str) -> None:
    assert refused(provider_keys={"OpenAI": text}).param == "providerKeys.openai"


def test_the_longest_provider_key() -> None:
    key = change(provider_keys={"openai": "a" * 4_096}).provider_keys["openai"]
    assert key == Secret("a" * 4_096)
    refused(provider_keys={"openai": "a" * 4_097})


def test_a_provider_named_twice_is_refused() -> None:
    rejected = refused(provider_keys={"together": CANARY, "Together AI": CANARY})
    assert rejected.param == "providerKeys.together"


def test_a_change_prints_no_secret() -> None:
    some = change(provider_keys={"openai": CANARY})
    assert "canary" not in f"{some!r} {some}"
    assert some.max_cost is UNSET

"""The tier table is the contract's, number for number."""

import dataclasses

import pytest

from kproxy.admission.ratelimit import rate_params
from kproxy.admission.tiers import TIERS, check_tier_name, own_tier
from kproxy.money import NANOS_PER_USD


@pytest.mark.parametrize(
    ("name", "rate", "burst", "tokens", "overage", "paid"),
    [
        ("free", 60, 5, 100_000, None, False),
        ("team", 600, 50, 10_000_000, 400_000_000, True),
        ("business", 3_000, 250, 50_000_000, 300_000_000, True),
        ("enterprise", None, None, None, None, True),
        ("unlimited", None, None, None, None, True),
    ],
)
def test_numbers_of_contract_section_11(name, rate, burst, tokens, overage, paid):
    tier = TIERS[name]
    assert tier.name == name
    assert (tier.requests_per_minute, tier.burst, tier.tokens_per_month) == (rate, burst, tokens)
    assert tier.overage_price == overage
    assert tier.paid is paid


def test_only_the_free_tier_has_trial_credit():
    credit = {name: tier.trial_credit for name, tier in TIERS.items() if tier.trial_credit}
    assert credit == {"free": 5 * NANOS_PER_USD}


@pytest.mark.parametrize("tier", TIERS.values(), ids=list(TIERS))
def test_the_rate_follows_from_the_numbers(tier):
    if tier.requests_per_minute is None:
        assert tier.rate is None
    else:
        assert tier.rate == rate_params(tier.requests_per_minute, tier.burst)
    assert tier.hard_cap is False


def test_a_changed_tier_has_a_rate_of_its_own():
    assert dataclasses.replace(TIERS["free"], burst=7).rate == rate_params(60, 7)
    with pytest.raises(ValueError, match="together"):
        dataclasses.replace(TIERS["free"], burst=None)


def test_the_table_cannot_be_changed():
    with pytest.raises(TypeError):
        TIERS["free"] = TIERS["unlimited"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        TIERS["free"].paid = True


def test_a_tier_of_ones_own_begins_without_limits():
    tier = own_tier("lab")
    assert tier == dataclasses.replace(TIERS["enterprise"], name="lab", paid=False)
    assert tier.rate is None


@pytest.mark.parametrize("name", [*TIERS, "lab", "2nd", "a" * 64, "a-b_c"])
def test_names_of_tiers(name):
    check_tier_name(name)


@pytest.mark.parametrize("name", ["", "Team", "-a", "_a", "a" * 65, "a b", "a\n", "a.b", "\u0661"])
def test_what_is_no_name_of_a_tier(name):
    with pytest.raises(ValueError, match="1 to 64 of a-z"):
        check_tier_name(name)

"""`[tiers.NAME]`: the operator's numbers over the contract's."""

import dataclasses

import pytest

from kproxy.admission.tiers import TIERS
from kproxy.config import ConfigError, Overrides, load
from kproxy.config.model import TierConfig
from kproxy.config.tiers import build_tiers, change_tier, describe_tiers
from kproxy.money import nanos


@pytest.fixture
def tiers(tmp_path):
    def read(text):
        file = tmp_path / "kproxy.toml"
        file.write_text(text)
        return load(Overrides(config=file), {"HOME": "/srv/op"}).tiers

    return read


def test_without_tables_the_tiers_are_the_contracts(tiers):
    assert tiers("") == TIERS
    with pytest.raises(TypeError):
        tiers("")["free"] = TIERS["team"]


def test_every_number_can_be_given(tiers):
    found = tiers(
        "[tiers.enterprise]\nrequests_per_minute = 9000\nburst = 400\n"
        "tokens_per_month = 1_000_000_000\noverage = 0.25\nhard_cap = true\ntrial_credit = 2\n"
    )
    ours = found["enterprise"]
    assert (ours.requests_per_minute, ours.burst, ours.tokens_per_month) == (9_000, 400, 10**9)
    assert (ours.overage_price, ours.trial_credit) == (nanos("0.25"), nanos(2))
    assert (ours.hard_cap, ours.paid) == (True, True)
    assert (ours.rate.per_minute, ours.rate.burst) == (9_000, 400)
    assert {name: tier for name, tier in found.items() if name != "enterprise"} == {
        name: tier for name, tier in TIERS.items() if name != "enterprise"
    }


def test_what_is_not_given_stays():
    team = TIERS["team"]
    assert change_tier(team, TierConfig()) == team
    capped = change_tier(team, TierConfig(hard_cap=True))
    assert (capped.hard_cap, capped.overage_price, capped.rate) == (True, nanos("0.40"), team.rate)
    assert change_tier(TIERS["free"], TierConfig(trial_credit=0)).trial_credit == 0
    assert build_tiers({"team": capped})["team"] is capped


def test_a_tier_of_the_operators_own_has_what_it_says_and_no_other_limit(tiers):
    found = tiers(
        "[tiers.lab]\nrequests_per_minute = 120\ntokens_per_month = 1000000\npaid = true\n"
        "[tiers.open]\n[tiers.sold]\ntokens_per_month = 5\noverage = 0.5\ntrial_credit = 2\n"
    )
    assert list(found) == [*TIERS, "lab", "open", "sold"]
    lab, bare, sold = found["lab"], found["open"], found["sold"]
    assert (lab.name, lab.requests_per_minute, lab.burst, lab.paid) == ("lab", 120, 10, True)
    assert (lab.tokens_per_month, lab.trial_credit, lab.ends_hard) == (1_000_000, None, True)
    assert dataclasses.replace(TIERS["enterprise"], name="open", paid=False) == bare
    assert (sold.overage_price, sold.ends_hard, sold.paid) == (nanos("0.5"), False, False)
    assert describe_tiers(found) == [
        "lab (120 requests/min; burst 10; 1000000 tokens/month; paid)",
        "open (no limits; not paid)",
        "sold (5 tokens/month; then 0.5 USD per 1 M; 2 USD of credit; not paid)",
    ]


def test_paid_can_be_said_of_every_tier(tiers):
    found = tiers("[tiers.free]\npaid = true\n[tiers.team]\npaid = false\n")
    assert (found["free"].paid, found["team"].paid) == (True, False)
    assert describe_tiers(found)[0].endswith("; paid)")
    assert describe_tiers(TIERS) == []


@pytest.mark.parametrize(("rate", "burst"), [(1, 1), (11, 1), (60, 5), (600, 50), (3_000, 250)])
def test_a_rate_alone_has_the_burst_of_the_contracts_tiers(rate, burst):
    assert change_tier(TIERS["enterprise"], TierConfig(requests_per_minute=rate)).burst == burst


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tiers.Gold]\npaid = true", "1: tiers.Gold: a tier's name is 1 to 64 of a-z"),
        ("[tiers.gold]\nburst = 1", "2: tiers.gold.burst: needs requests_per_minute beside it"),
        ("[tiers.gold]\npaid = 1", "2: tiers.gold.paid: expected `bool`, got `int`"),
        ("[tiers.free]\nbrust = 1", "2: tiers.free.brust: unknown key"),
        ("[tiers.free]\nburst = 0", "2: tiers.free.burst: "),
        ("[tiers.free]\ntokens_per_month = -1", "2: tiers.free.tokens_per_month: "),
        ("[tiers.enterprise]\nburst = 9", "2: tiers.enterprise.burst: needs requests_per_minute"),
        ("[tiers.team]\noverage = -0.4", "2: tiers.team.overage: not an amount in USD"),
        ("[tiers.team]\ntrial_credit = 1e-10", "2: tiers.team.trial_credit: not an amount in USD"),
        ("[tiers]\nfree = 1", "2: tiers.free: expected `table`, got `int`"),
        ("[[tiers]]\nburst = 1", "1: tiers: must be written as [tiers.NAME]"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tiers, text, said):
    with pytest.raises(ConfigError) as caught:
        tiers(text)
    assert f"kproxy.toml:{said}" in str(caught.value)

"""`[tiers.NAME]`: the operator's numbers over the contract's."""

import pytest

from kproxy.admission.tiers import TIERS
from kproxy.config import ConfigError, Overrides, load
from kproxy.config.model import TierConfig
from kproxy.config.tiers import build_tiers, change_tier
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


@pytest.mark.parametrize(("rate", "burst"), [(1, 1), (11, 1), (60, 5), (600, 50), (3_000, 250)])
def test_a_rate_alone_has_the_burst_of_the_contracts_tiers(rate, burst):
    assert change_tier(TIERS["enterprise"], TierConfig(requests_per_minute=rate)).burst == burst


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tiers.gold]\nburst = 1", "1: tiers.gold: there is no such tier; there are free, team"),
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

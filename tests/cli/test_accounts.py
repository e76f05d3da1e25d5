"""`kproxy accounts`: create, list, change."""

import json

import pytest
from click.testing import CliRunner

from kproxy.cli.root import kproxy
from kproxy.store.journal import JournalParams, open_journal
from tests.fakes.receipts import NOON, attempt, charged, receipt


@pytest.fixture
def run(tmp_path):
    return lambda *arguments: CliRunner().invoke(
        kproxy, ["accounts", *arguments], env={"KPROXY_DATA_DIR": str(tmp_path)}
    )


def test_create_and_list(run):
    assert run("create", "acme", "--tier", "team").stdout == "acme (team) is created.\n"
    created = json.loads(run("create", "beta", "--tier", "free", "--json").stdout)
    assert (created["name"], created["tier"]) == ("beta", "free")
    listed = json.loads(run("list", "--json").stdout)
    assert listed["object"] == "list"
    assert sorted(entry["name"] for entry in listed["data"]) == ["acme", "beta"]
    assert created in listed["data"]
    lines = run("list").stdout.splitlines()
    assert lines[0].split() == ["NAME", "TIER", "CREATED", "ID"]
    assert len(lines) == 3


def test_refusals(run):
    run("create", "acme", "--tier", "team")
    twice = run("create", "acme", "--tier", "team")
    assert (twice.exit_code, twice.stderr) == (1, "Error: the account 'acme' exists already\n")
    assert run("create", "acme").exit_code == 2
    assert run("create", "--tier", "team").exit_code == 2
    assert run("create", "x", "--tier", "gold").exit_code == 2


def test_another_tier(run):
    run("create", "acme", "--tier", "free")
    assert run("set-tier", "acme", "team").stdout == "acme has the tier team.\n"
    assert json.loads(run("set-tier", "acme", "business", "--json").stdout)["tier"] == "business"
    assert [entry["tier"] for entry in json.loads(run("list", "--json").stdout)["data"]] == [
        "business"
    ]
    nobody = run("set-tier", "nobody", "team")
    assert (nobody.exit_code, nobody.stderr) == (1, "Error: there is no account 'nobody'\n")
    assert run("set-tier", "acme", "gold").exit_code == 2


def test_a_bill_is_what_goes_beyond_the_tier(run, tmp_path):
    config = tmp_path / "k.toml"
    config.write_text("[tiers.team]\ntokens_per_month = 1_000_000\n")
    acme = json.loads(run("create", "acme", "--tier", "team", "--json").stdout)["id"]
    beta = json.loads(run("create", "beta", "--tier", "free", "--json").stdout)["id"]
    journal = open_journal(tmp_path, JournalParams(segment=65_536))
    for number, (account, tokens, spend, arrived) in enumerate(
        (
            (acme, 2_000_000, 0, NOON),
            (acme, 1_500_000, 0, NOON),
            (acme, 9_000_000, 0, NOON + 40 * 86_400),  # of another month
            (beta, 0, 20_000_000, NOON - 90 * 86_400),  # credit is of all months
        )
    ):
        one = receipt(number, attempt(), account_id=account, arrived=arrived)
        journal.append(charged(one, tokens, spend))
    journal._mover.move()
    journal.close()
    asked = ("bill", "--month", "2025-11", "--config", str(config))
    assert [line.split() for line in run(*asked).stdout.splitlines()] == [
        ["NAME", "TIER", "TOKENS", "OF", "OVERAGE_USD", "CREDIT_USED_USD"],
        ["acme", "team", "3500000", "1000000", "1", "-"],
        ["beta", "free", "0", "100000", "0", "0.02"],
    ]
    first = json.loads(run(*asked, "--json").stdout)["data"][0]
    assert (first["charged_tokens"], first["overage_usd"]) == (3_500_000, 1)
    assert first["credit_used_usd"] is None
    assert run("bill", "--month", "November").exit_code == 2


def test_a_tier_of_the_operators_own_and_what_a_bill_says_once_it_is_gone(run, tmp_path):
    config = tmp_path / "k.toml"
    config.write_text("[tiers.lab]\nrequests_per_minute = 60\n")
    made = run("create", "acme", "--tier", "lab", "--config", str(config))
    assert made.stdout == "acme (lab) is created.\n"
    run("create", "beta", "--tier", "free")
    assert run("set-tier", "beta", "lab", "--config", str(config)).exit_code == 0
    lost = run("set-tier", "beta", "lab")
    assert lost.exit_code == 2
    assert "'lab' is not one of 'free', 'team'" in lost.stderr
    asked = ("bill", "--month", "2025-11")
    assert [line.split() for line in run(*asked).stdout.splitlines()[1:]] == [
        ["acme", "lab", "0", "-", "?", "-"],
        ["beta", "lab", "0", "-", "?", "-"],
    ]
    unknown = json.loads(run(*asked, "--json").stdout)["data"]
    assert {one["overage_usd"] for one in unknown} == {None}
    known = json.loads(run(*asked, "--config", str(config), "--json").stdout)["data"]
    assert {one["overage_usd"] for one in known} == {0}

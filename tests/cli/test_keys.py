"""`kproxy keys`: scripts get the key, nobody gets it twice, refusals are one line."""

import json
import os
import re

import pytest
from click.testing import CliRunner

from kproxy.admission.keys import Secret, digest
from kproxy.admission.patch import Change
from kproxy.cli.root import kproxy
from kproxy.store.keystore import open_keystore


@pytest.fixture
def run(tmp_path):
    def invoke(*arguments):
        return CliRunner().invoke(
            kproxy, arguments, env={"KPROXY_DATA_DIR": str(tmp_path / "data"), "KPROXY_CONFIG": ""}
        )

    return invoke


def test_a_key_for_a_script(run, tmp_path):
    result = run("keys", "create", "--account", "acme", "--tier", "team", "--json")
    assert result.exit_code == 0
    created = json.loads(result.stdout)
    assert list(created) == [
        "key", "id", "name", "prefix", "account", "tier", "created_at", "expires_at", "revoked",
    ]  # fmt: skip
    assert (created["account"], created["tier"], created["expires_at"]) == ("acme", "team", None)
    store = open_keystore(tmp_path / "data")
    assert store.lookup(digest(created["key"].encode())).key_id == created["id"]
    store.close()


def test_a_key_for_a_shell_variable(run):
    result = run("keys", "create", "--account", "acme", "--tier", "free", "--name", "laptop")
    assert re.fullmatch(r"kr-[A-Za-z0-9_-]{43}\n", result.stdout)
    assert "acme (free), expires: never. The key is not shown again." in result.stderr


def test_a_key_that_expires(run):
    created = json.loads(
        run(
            "keys", "create", "--account", "a", "--tier", "team", "--expires-in", "60", "--json"
        ).stdout
    )
    assert created["expires_at"] == created["created_at"] + 60


def test_a_second_key_of_an_account_needs_no_tier_and_takes_no_other(run):
    assert run("keys", "create", "--account", "acme", "--tier", "team").exit_code == 0
    assert run("keys", "create", "--account", "acme").exit_code == 0
    assert run("keys", "create", "--account", "acme", "--tier", "team").exit_code == 0
    other = run("keys", "create", "--account", "acme", "--tier", "free")
    assert (other.exit_code, other.stdout) == (1, "")
    assert other.stderr == "Error: the account 'acme' has the tier team, not free\n"
    listed = json.loads(run("keys", "list", "--json").stdout)["data"]
    assert [entry["tier"] for entry in listed] == ["team"] * 3


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--account", "acme"], 1, "name its --tier to create it"),
        (["--account", "acme", "--tier", "gold"], 2, "'gold' is not one of"),
        (["--tier", "team"], 2, "Missing option '--account'"),
        (["--account", "a", "--tier", "team", "--expires-in", "0"], 1, "expires after"),
        (["--account", "a", "--tier", "team", "--expires-in", "1h"], 2, "not a valid integer"),
        (["--account", "a\x1b", "--tier", "team"], 1, "printable"),
    ],
)
def test_refusals(run, arguments, status, message):
    result = run("keys", "create", *arguments)
    assert (result.exit_code, result.stdout) == (status, "")
    assert message in result.stderr
    if status == 1:
        assert result.stderr.count("\n") == 1


def test_listing_and_revoking(run):
    keys = [
        json.loads(run("keys", "create", "--account", name, "--tier", "team", "--json").stdout)
        for name in ("acme", "beta")
    ]
    text = run("keys", "list").stdout
    assert len(text.splitlines()) == 3
    for created in keys:
        assert created["key"] not in text
        assert created["id"] in text
        assert created["prefix"] in text
    only = json.loads(run("keys", "list", "--account", "beta", "--json").stdout)
    assert [entry["id"] for entry in only["data"]] == [keys[1]["id"]]
    assert "key" not in only["data"][0]

    assert run("keys", "revoke", keys[0]["id"]).stdout == f"{keys[0]['id']} is revoked.\n"
    again = run("keys", "revoke", keys[0]["id"])
    assert (again.exit_code, again.stdout) == (1, "")
    assert "in force" in again.stderr
    assert json.loads(run("keys", "revoke", keys[1]["id"], "--json").stdout) == {
        "id": keys[1]["id"],
        "deleted": True,
    }
    assert run("keys", "list").stdout.count("revoked") == 2


def test_an_unknown_account_is_not_an_empty_list(run):
    assert run("keys", "create", "--account", "a", "--tier", "team").exit_code == 0
    result = run("keys", "list", "--account", "nobody")
    assert result.exit_code == 1
    assert "no account 'nobody'" in result.stderr
    assert run("keys", "list").exit_code == 0


def test_the_data_directory_of_the_configuration_is_used(tmp_path):
    file = tmp_path / "kproxy.toml"
    file.write_text('data_dir = "there"\n[providers.x]\napi_key = "${env:NOT_SET}"\n')
    arguments = ["keys", "create", "--account", "a", "--tier", "team", "--config", str(file)]
    assert CliRunner().invoke(kproxy, arguments, env={"KPROXY_DATA_DIR": ""}).exit_code == 0
    assert (tmp_path / "there" / "kproxy.db").exists()
    flag = [*arguments, "--data-dir", str(tmp_path / "flag")]
    assert CliRunner().invoke(kproxy, flag, env={"KPROXY_DATA_DIR": ""}).exit_code == 0
    assert "kproxy.db" in os.listdir(tmp_path / "flag")


def test_a_data_directory_that_cannot_be_used_is_one_line(tmp_path):
    (tmp_path / "data").write_text("")
    create = ["keys", "create", "--account", "a", "--tier", "team"]
    result = CliRunner().invoke(kproxy, [*create, "--data-dir", str(tmp_path / "data")])
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: cannot use the data directory {tmp_path}/data: ")
    assert result.stderr.count("\n") == 1


def test_a_mistyped_directory_is_no_empty_store(tmp_path):
    for arguments in (["keys", "list"], ["keys", "revoke", "key_1"], ["accounts", "list"]):
        result = CliRunner().invoke(kproxy, [*arguments, "--data-dir", str(tmp_path / "no")])
        assert result.exit_code == 1
        assert result.stderr == f"Error: there is no key store in {tmp_path}/no\n"
        assert not (tmp_path / "no").exists()


def test_guardrails_and_last_use_are_listed_without_provider_keys(run, tmp_path):
    run("keys", "create", "--account", "acme", "--tier", "team")
    store = open_keystore(tmp_path / "data")
    (record,) = store.list()
    change = Change(max_cost=27_000, provider_keys={"openai": Secret("sk-canary")})
    store.change(record.key_id, record.account.id, change)
    store.write_last_use({record.key_id: 1_800_000_000})
    store.close()
    result = run("keys", "list", "--json")
    (listed,) = json.loads(result.stdout)["data"]
    assert listed["last_used_at"] == 1_800_000_000
    assert listed["guardrails"] == {
        "maxCostPerRequestUsd": 0.000027,
        "allowedProviders": [],
        "excludedProviders": [],
        "minQualityThreshold": None,
        "providerKeys": ["openai"],
    }
    text = run("keys", "list").stdout
    assert "2027-01-15 08:00:00" in text
    assert "canary" not in result.stdout + text

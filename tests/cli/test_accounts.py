"""`kproxy accounts`: create, list, change."""

import json

import pytest
from click.testing import CliRunner

from kproxy.cli.root import kproxy


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

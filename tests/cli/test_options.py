"""What commands share prints for people and for scripts."""

import click
import pytest
from click.testing import CliRunner

from kproxy.cli.options import check_tier, keystore, print_json, print_table, spell_time
from kproxy.store.database import StoreError


def printed(function, *arguments):
    @click.command()
    def command():
        function(*arguments)

    return CliRunner().invoke(command).stdout


def test_times_are_utc():
    assert spell_time(0) == "1970-01-01 00:00:00"
    assert spell_time(None) == "never"


def test_a_table_is_as_wide_as_its_widest_cells():
    assert printed(print_table, ("A", "LONG"), [("wide", "x"), ("y", "z")]) == (
        "A     LONG\nwide  x\ny     z\n"
    )
    assert printed(print_table, ("A", "B"), []) == "A  B\n"


def test_json_is_one_line():
    assert printed(print_json, {"a": "\n\u00e9"}) == '{"a":"\\n\u00e9"}\n'


def test_the_store_is_closed_afterwards(tmp_path):
    with keystore(None, tmp_path, make=True) as store:
        assert store.accounts() == []
    with pytest.raises(StoreError, match="closed"):
        store.accounts()


def test_a_tier_is_one_of_the_configuration(tmp_path, monkeypatch):
    monkeypatch.delenv("KPROXY_CONFIG", raising=False)
    file = tmp_path / "k.toml"
    file.write_text('[providers.a]\napi_key = "${env:NOT_SET}"\n[tiers.lab]\n')
    check_tier(file, "lab")
    check_tier(file, "free")
    with pytest.raises(click.BadParameter, match=r"'lab' is not one of 'free', .*'unlimited'\."):
        check_tier(None, "lab")

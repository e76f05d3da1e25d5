"""What of another configuration can be had without a restart, and what is named instead."""

import dataclasses
from pathlib import Path

import pytest

from kproxy.config import Config, Overrides, load
from kproxy.config.change import FIXED, differing, settle

ACME = '[providers.acme]\nbase_url = "http://127.0.0.1:9/v1"\n'


def configured(folder: Path, text: str = ACME) -> Config:
    file = folder / "kproxy.toml"
    file.write_text(text)
    return load(Overrides(config=file, data_dir=folder / "data"), {})


def test_the_same_file_is_no_change(tmp_path: Path) -> None:
    running = configured(tmp_path)
    again = configured(tmp_path, "# a comment\n" + ACME)
    settled, waiting = settle(running, again)
    assert (settled, waiting) == (running, ())
    assert differing(running, settled) == ()


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('[[models]]\nid = "m"\nprovider = "acme"\n', "models"),
        ("[timeouts]\ntotal = 5\n", "timeouts"),
        ("[limits]\nbody = 5\n", "limits"),
        ("[attempts]\nretries = 0\n", "attempts"),
        ('[routing]\ndial = "best"\n', "routing"),
        ("[tiers.free]\nrequests_per_minute = 1\n", "tiers"),
        ('[[guardrails.rules]]\naction = "mask"\nbuiltin = "email"\n', "guardrails"),
        ("[providers.other]\nbase_url = 'http://127.0.0.1:8/v1'\n", "providers"),
    ],
)
def test_what_can_change(tmp_path: Path, text: str, field: str) -> None:
    running = configured(tmp_path)
    settled, waiting = settle(running, configured(tmp_path, ACME + text))
    assert differing(running, settled) == (field,)
    assert waiting == ()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('listen = ["127.0.0.1:1"]\n', "listen and [[listeners]]"),
        ('auth = "none"\n', "auth"),
        ('ledger = "strict"\n', "ledger"),
        ("[sim]\nseed = 7\n", "[sim]"),
    ],
)
def test_what_cannot_is_named_and_stays(tmp_path: Path, text: str, name: str) -> None:
    running = configured(tmp_path)
    settled, waiting = settle(running, configured(tmp_path, text + ACME))
    assert waiting == (name,)
    assert settled == running


def test_every_fixed_field_is_one_of_the_configuration() -> None:
    assert set(FIXED) <= {one.name for one in dataclasses.fields(Config)}

"""`[routing]`: a dial, floors by category, and an artefact that is refused by name."""

import pytest

from kproxy.config import ConfigError, Overrides, load
from tests.fakes.answered import trained


@pytest.fixture
def loaded(tmp_path):
    file = tmp_path / "kproxy.toml"

    def write(text):
        file.write_text(text)
        return load(Overrides(config=file), {"HOME": "/srv/op"})

    return write


def test_the_defaults(loaded):
    found = loaded("")
    assert (found.routing.dial, found.routing.floors) == ("balanced", {})
    assert len(found.router.table.categories) > 20


def test_a_dial_and_floors(loaded):
    found = loaded('[routing]\ndial = "best"\nfloors = { code = 0.5 }\n')
    assert (found.routing.dial, found.routing.floors) == ("best", {"code": 0.5})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('dial = "most"', r"kproxy\.toml:2: routing\.dial"),
        ("floors = { code = 1.5 }", r"kproxy\.toml:2: routing\.floors"),
        ("floors = { cooking = 0.5 }", r"kproxy\.toml:2: routing\.floors"),
        ('artefact = "none.bin"', r"kproxy\.toml:2: routing\.artefact: cannot be read: No such"),
    ],
)
def test_what_is_wrong_is_named(loaded, text, message):
    with pytest.raises(ConfigError, match=message):
        loaded(f"[routing]\n{text}\n")


def test_an_artefact_of_ones_own_beside_the_file(loaded, tmp_path):
    (tmp_path / "own.bin").write_bytes(trained())
    assert "verses" in str(loaded('[routing]\nartefact = "own.bin"\n').router.table)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data[:-1], "cut"),
        (lambda data: b"", "not a kproxy router artefact"),
        (lambda data: data[:60] + bytes([data[60] ^ 1]) + data[61:], "damaged"),
        (lambda data: data[:8] + b"\x09" + data[9:], "version"),
    ],
)
def test_an_artefact_that_is_wrong(loaded, tmp_path, change, reason):
    (tmp_path / "own.bin").write_bytes(change(trained()))
    with pytest.raises(ConfigError, match=rf"kproxy\.toml:2: routing\.artefact: .*{reason}"):
        loaded('[routing]\nartefact = "own.bin"\n')

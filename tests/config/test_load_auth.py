"""Who needs a key, and the seal key: what is refused, where, and without repeating a secret."""

from pathlib import Path

import pytest

from kproxy.admission.keys import Secret
from kproxy.config import Config, ConfigError, Overrides, load
from kproxy.store.vault import parse_seal_key

HOME = {"HOME": "/srv/op"}
NEEDS = '"none" needs every address on loopback (127.0.0.0/8, [::1] or localhost), and'


def loaded(folder: Path, text: str, *listen: str, **environ: str) -> Config:
    file = folder / "kproxy.toml"
    file.write_text(text)
    return load(Overrides(listen=listen, config=file), HOME | environ)


def refused(folder: Path, text: str, *listen: str, **environ: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        loaded(folder, text, *listen, **environ)
    assert "\n" not in str(caught.value)
    return caught.value


def test_keys_are_needed_unless_said(tmp_path: Path) -> None:
    assert load(Overrides(), HOME).auth == "keys"
    assert loaded(tmp_path, 'auth = "keys"\nlisten = ["0.0.0.0:4000"]').auth == "keys"


@pytest.mark.parametrize(
    "listen", ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1", "LOCALHOST:1"]
)
def test_a_sidecar_on_loopback(tmp_path: Path, listen: str) -> None:
    assert loaded(tmp_path, f'auth = "none"\nlisten = ["{listen}"]\n').auth == "none"
    assert loaded(tmp_path, 'auth = "none"\n', listen).auth == "none"
    assert loaded(tmp_path, 'auth = "none"\n', PORT="4001").auth == "none"


@pytest.mark.parametrize(
    "listen", ["0.0.0.0:1", "[::]:1", "192.168.0.5:1", "myhost:1", "127.1:1", "localhost.lan:1"]
)
def test_a_sidecar_elsewhere_is_refused_with_its_line(tmp_path: Path, listen: str) -> None:
    text = f'# a sidecar\nlisten = ["127.0.0.1:4000", "{listen}"]\nauth = "none"\n'
    error = refused(tmp_path, text)
    assert (error.line, error.path) == (3, "auth")
    assert error.reason == f"{NEEDS} {listen} is not"
    text = 'auth = "none"\n'
    error = refused(tmp_path, text, listen)
    assert (error.line, error.reason) == (1, f"{NEEDS} {listen} (from --listen) is not")
    error = refused(tmp_path, text, KPROXY_LISTEN=listen)
    assert (error.line, error.reason) == (1, f"{NEEDS} {listen} (from KPROXY_LISTEN) is not")


@pytest.mark.parametrize("value", ['"None"', '"off"', '""', "false", "1"])
def test_another_word_is_refused_and_not_repeated(tmp_path: Path, value: str) -> None:
    error = refused(tmp_path, f"auth = {value}\n")
    assert (error.line, error.path) == (1, "auth")
    assert "off" not in error.reason


def test_the_seal_key_of_the_environment(tmp_path: Path) -> None:
    text = "+/" * 21 + "A="
    config = load(Overrides(), HOME | {"KPROXY_SEAL_KEY": f" {text}\n"})
    assert config.seal_key == Secret(text)
    assert len(parse_seal_key(text)) == 32
    assert "+/" not in repr(config)
    for environ in ({}, {"KPROXY_SEAL_KEY": " "}):
        assert load(Overrides(), HOME | environ).seal_key is None


@pytest.mark.parametrize("text", ["canary-canary", "0" * 64, "A" * 40, "é" * 44])
def test_what_is_no_seal_key_is_refused_by_the_variables_name(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(Overrides(), HOME | {"KPROXY_SEAL_KEY": text})
    assert str(caught.value).startswith("KPROXY_SEAL_KEY: not a seal key: 32 random bytes")
    assert text not in str(caught.value)

"""Sealed bytes open with their seal key, for their key id and provider, and nowhere else."""

import base64
import os
import secrets
import stat
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.admission.keys import Secret
from kproxy.store import vault as vaults
from kproxy.store.database import StoreError
from kproxy.store.vault import SealError, Vault, VaultMissing, parse_seal_key

CANARY = "sk-canary-canary-canary"


def seal_key() -> Secret:
    return Secret(base64.b64encode(secrets.token_bytes(32)).decode())


def refused(vault: Vault, sealed: bytes, key_id: str = "key_1", provider: str = "openai") -> str:
    with pytest.raises(SealError) as caught:
        vault.open(key_id, provider, sealed)
    told = "".join(traceback.format_exception(caught.value))
    assert "canary" not in told
    return str(caught.value)


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path, seal_key())


@pytest.fixture
def sealed(vault: Vault) -> bytes:
    return vault.seal("key_1", "openai", Secret(CANARY), first=True)


def test_what_is_sealed_opens_and_does_not_show(vault: Vault, sealed: bytes) -> None:
    assert vault.open("key_1", "openai", sealed) == Secret(CANARY)
    assert b"canary" not in sealed
    assert vault.seal("key_1", "openai", Secret(CANARY), first=True) != sealed


@given(st.text("".join(map(chr, range(33, 127))), min_size=1), st.sampled_from(["a", "b.c-d_e"]))
def test_any_key_of_any_provider(value: str, provider: str) -> None:
    vault = Vault(Path("unused"), Secret("A" * 43 + "="))
    sealed = vault.seal("key_1", provider, Secret(value), first=False)
    assert vault.open("key_1", provider, sealed).reveal() == value


@pytest.mark.parametrize(
    ("key_id", "provider"),
    [("key_2", "openai"), ("key_1", "groq"), ("key_1\0openai", ""), ("", "key_1\0openai")],
)
def test_a_row_that_was_moved_does_not_open(
    vault: Vault, sealed: bytes, key_id: str, provider: str
) -> None:
    message = refused(vault, sealed, key_id, provider)
    assert message == "it is damaged, or belongs to another key or provider"


def test_a_change_of_any_byte_is_found(vault: Vault, sealed: bytes) -> None:
    for at in range(len(sealed)):
        assert refused(vault, sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :])
    for length in range(len(sealed)):
        assert refused(vault, sealed[:length])
    assert refused(vault, sealed + b"\0")


def test_another_seal_key_is_told_apart_from_damage(tmp_path: Path, sealed: bytes) -> None:
    message = refused(Vault(tmp_path, seal_key()), sealed)
    assert message == "it was sealed with another key than that of KPROXY_SEAL_KEY"


def test_no_seal_key_at_all(tmp_path: Path, sealed: bytes) -> None:
    message = refused(Vault(tmp_path), sealed)
    assert message.startswith("there is no seal key: KPROXY_SEAL_KEY is not set, and ")
    assert message.endswith(f" {tmp_path}/kproxy.seal does not exist")
    assert list(tmp_path.iterdir()) == [], "opening makes no key"


# --- the file


def test_the_file_is_made_once_and_is_the_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        sealed = Vault(tmp_path).seal("key_1", "openai", Secret(CANARY), first=True)
    finally:
        os.umask(before)
    file = tmp_path / "kproxy.seal"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(parse_seal_key(file.read_text())) == 32
    content = file.read_text()
    other = Vault(tmp_path)
    assert other.open("key_1", "openai", sealed) == Secret(CANARY)
    other.seal("key_1", "groq", Secret(CANARY), first=True)
    assert file.read_text() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kproxy.seal", "kproxy.seal.lock"]


def test_a_lost_file_is_not_made_anew(tmp_path: Path) -> None:
    Vault(tmp_path).seal("key_1", "openai", Secret(CANARY), first=True)
    (tmp_path / "kproxy.seal").unlink()
    with pytest.raises(SealError, match="there is no seal key"):
        Vault(tmp_path).seal("key_1", "openai", Secret(CANARY), first=False)
    assert not (tmp_path / "kproxy.seal").exists()


def test_a_half_written_file_of_a_killed_process_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "kproxy.seal.new").write_text("half")
    sealed = Vault(tmp_path).seal("key_1", "openai", Secret(CANARY), first=True)
    assert Vault(tmp_path).open("key_1", "openai", sealed) == Secret(CANARY)


def test_from_the_file_to_the_variable(tmp_path: Path) -> None:
    """The variable's key seals from then on, and what the file's key has sealed still opens."""
    old = Vault(tmp_path).seal("key_1", "openai", Secret(CANARY), first=True)
    variable = seal_key()
    both = Vault(tmp_path, variable)
    assert both.open("key_1", "openai", old) == Secret(CANARY)
    new = both.seal("key_1", "groq", Secret(CANARY), first=False)
    (tmp_path / "kproxy.seal").unlink()
    alone = Vault(tmp_path, variable)
    assert alone.open("key_1", "groq", new) == Secret(CANARY)
    assert "another key" in refused(alone, old)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_is_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    sealed = Vault(tmp_path).seal("key_1", "openai", Secret(CANARY), first=True)
    (tmp_path / "kproxy.seal").chmod(mode)
    assert "chmod 600" in refused(Vault(tmp_path), sealed)


@pytest.mark.parametrize("content", [b"", b"sk-canary-canary\n", b"\xff" * 32, b"A" * 500])
def test_a_file_that_holds_no_key_is_refused_and_not_repeated(
    tmp_path: Path, sealed: bytes, content: bytes
) -> None:
    file = tmp_path / "kproxy.seal"
    file.write_bytes(content)
    file.chmod(0o600)
    assert "holds no seal key" in refused(Vault(tmp_path), sealed)
    assert file.read_bytes() == content


def test_a_file_that_cannot_be_made_or_read_is_a_refusal(
    tmp_path: Path, sealed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SealError, match=r"kproxy\.seal cannot be made: No such file"):
        Vault(tmp_path / "gone").seal("key_1", "openai", Secret(CANARY), first=True)

    def denied(path: Path, *_: object) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(vaults.os, "open", denied)  # the tests may run as root
    assert "kproxy.seal cannot be read: Permission denied" in refused(Vault(tmp_path), sealed)


_SEAL = """
import sys
from pathlib import Path
from kproxy.admission.keys import Secret
from kproxy.store.vault import Vault
vault = Vault(Path(sys.argv[1]))
sys.stdout.write("r"); sys.stdout.flush()
sys.stdin.read(1)
print(vault.seal("key_1", "openai", Secret("sk-x"), first=True).hex())
"""


def test_processes_that_seal_first_together_make_one_key(tmp_path: Path) -> None:
    started = [
        subprocess.Popen(
            [sys.executable, "-c", _SEAL, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.read(1) == "r"
    vault = Vault(tmp_path)
    for process in started:
        assert process.stdin is not None
        process.stdin.write("g")
        process.stdin.flush()
    for process in started:
        sealed = bytes.fromhex(process.communicate()[0])
        assert vault.open("key_1", "openai", sealed) == Secret("sk-x")


# --- the variable, and the extra


@pytest.mark.parametrize("alphabet", [base64.b64encode, base64.urlsafe_b64encode])
def test_either_alphabet_of_base64(alphabet: object) -> None:
    key = b"\xfb\xff" * 16
    assert parse_seal_key(f" {alphabet(key).decode()}\n") == key  # type: ignore[operator]


@pytest.mark.parametrize(
    "text",
    ["", "canary", "A" * 43, "A" * 44, "0" * 64, "é" * 44, "A" * 42 + "!=", "A" * 44 + "===="],
)
def test_what_is_no_seal_key_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match=r"^not a seal key: 32 random bytes in base64") as caught:
        parse_seal_key(text)
    assert "canary" not in str(caught.value)


def test_without_the_extra_nothing_seals_or_opens(
    vault: Vault, sealed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    with pytest.raises(VaultMissing, match=r"need the extra kproxy\[vault\]"):
        vault.seal("key_1", "openai", Secret(CANARY), first=True)
    assert "kproxy[vault]" in refused(vault, sealed)


def test_a_vault_prints_where_its_key_is_and_not_the_key(tmp_path: Path, vault: Vault) -> None:
    assert repr(vault) == "<Vault KPROXY_SEAL_KEY>"
    assert repr(Vault(tmp_path)) == f"<Vault {tmp_path}/kproxy.seal>"
    assert issubclass(SealError, StoreError)

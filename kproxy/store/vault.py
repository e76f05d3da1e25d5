"""A caller's provider key in, sealed bytes out, and back (contract section 11: encrypted at rest).

1. AES-256-GCM (NIST SP 800-38D) with a random nonce of 96 bits, from the `cryptography` package,
   which is an extra: without it nothing can be sealed or opened, and that is said by name.
2. The associated data binds key id and provider, so that a row which is moved to another key or
   provider does not open there.
3. The seal key comes from KPROXY_SEAL_KEY, else from a file in the data directory that only its
   owner may read, made when the first provider key is sealed. Sealed bytes name their seal key, so
   that a wrong one is told apart from damage, and so that an operator can move from the file to
   the variable: new keys are sealed with the variable's, old ones still open with the file's.
4. A file that is lost while provider keys are stored is not made anew: that would hide the loss.

What is opened leaves here as a `Secret`; no error repeats a value. Whoever can read both the data
directory and the seal key reads the provider keys: this guards copies of the database.
"""

import base64
import binascii
import hashlib
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from kproxy.admission.keys import Secret
from kproxy.store.database import StoreError, file_lock

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["SealError", "Vault", "VaultMissing", "parse_seal_key"]

VARIABLE = "KPROXY_SEAL_KEY"
FILE_NAME = "kproxy.seal"
EXTRA = "kproxy[vault]"

_KEY = 32  # bytes: AES-256
_FORMAT = b"\x01"
_NAME = 8  # bytes that tell seal keys apart
_NONCE = 12  # bytes: what GCM is made for; random ones are good for 2^32 messages
_HEAD = len(_FORMAT) + _NAME + _NONCE


class SealError(StoreError):
    """A provider key cannot be sealed or opened; the message says why."""


class VaultMissing(SealError):
    """The extra is not installed."""


class Vault:
    """The seal keys of one data directory, read when they are first needed.

    `key` is the text of KPROXY_SEAL_KEY, None where it is not set. May be used from any thread.
    """

    def __init__(self, directory: Path, key: Secret | None = None) -> None:
        self._directory = directory
        self._variable = key
        self._file: bytes | None = None  # what the file holds, once it has been read

    def __repr__(self) -> str:
        return f"<Vault {self._source}>"

    def seal(self, key_id: str, provider: str, value: Secret, *, first: bool) -> bytes:
        """The value, sealed for this key id and provider. Raises SealError.

        `first`: nothing is sealed in this data directory yet, so a seal key may be made.
        """
        cipher = _cipher()
        keys = self._keys()
        if not keys:
            if not first:
                raise SealError(self._no_key())
            keys = [self._make()]
        nonce = secrets.token_bytes(_NONCE)
        sealed = cipher(keys[0]).encrypt(nonce, value.reveal().encode(), _bound(key_id, provider))
        return _FORMAT + _name(keys[0]) + nonce + sealed

    def open(self, key_id: str, provider: str, sealed: bytes) -> Secret:
        """The value that was sealed for this key id and provider. Raises SealError."""
        cipher = _cipher()
        from cryptography.exceptions import InvalidTag

        if len(sealed) < _HEAD or sealed[:1] != _FORMAT:
            raise SealError("it is damaged, or was sealed by a newer kproxy")
        name, nonce = sealed[1 : 1 + _NAME], sealed[1 + _NAME : _HEAD]
        keys = self._keys()
        key = next((key for key in keys if _name(key) == name), None)
        if key is None:
            other = f"it was sealed with another key than that of {self._source}"
            raise SealError(other if keys else self._no_key())
        try:
            return Secret(
                cipher(key).decrypt(nonce, sealed[_HEAD:], _bound(key_id, provider)).decode()
            )
        except InvalidTag:
            raise SealError("it is damaged, or belongs to another key or provider") from None

    @property
    def _path(self) -> Path:
        return self._directory / FILE_NAME

    @property
    def _source(self) -> str:
        return VARIABLE if self._variable else str(self._path)

    def _no_key(self) -> str:
        return f"there is no seal key: {VARIABLE} is not set, and {self._path} does not exist"

    def _keys(self) -> list[bytes]:
        """The seal keys there are; the first one seals."""
        if self._file is None:
            self._file = self._read()
        given = None if self._variable is None else parse_seal_key(self._variable.reveal())
        return [key for key in (given, self._file) if key is not None]

    def _read(self) -> bytes | None:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SealError(f"{self._path} cannot be read: {error.strerror}") from error
        with os.fdopen(descriptor, "rb") as file:
            if os.fstat(descriptor).st_mode & 0o077:
                raise SealError(f"{self._path} is open to others: chmod 600 it, and keep it so")
            try:
                return parse_seal_key(file.read(_KEY * 4).decode("ascii", "replace"))
            except ValueError as error:
                raise SealError(f"{self._path} holds no seal key: {error}") from None

    def _make(self) -> bytes:
        """A new seal key in its file; of processes that come together one makes it."""
        try:
            # A lock of its own: a caller holds a transaction, for which an opening store waits.
            with file_lock(self._path.with_name(FILE_NAME + ".lock")):
                self._file = self._read()
                if self._file is None:
                    self._file = secrets.token_bytes(_KEY)
                    self._write(base64.urlsafe_b64encode(self._file) + b"\n")
        except OSError as error:
            self._file = None
            raise SealError(f"{self._path} cannot be made: {error.strerror}") from error
        return self._file

    def _write(self, text: bytes) -> None:
        """All of the file or none of it, and on the disk before anything is sealed with it."""
        made = self._path.with_name(FILE_NAME + ".new")
        made.unlink(missing_ok=True)  # left by a process that was killed here
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        made.rename(self._path)
        folder = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def parse_seal_key(text: str) -> bytes:
    """The 32 bytes that a text in base64, of either alphabet, spells. Raises ValueError."""
    plain = text.strip().replace("+", "-").replace("/", "_")
    try:
        key = base64.b64decode(plain, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != _KEY:
        raise ValueError("not a seal key: 32 random bytes in base64 (openssl rand -base64 32)")
    return key


def _cipher() -> "type[AESGCM]":
    try:
        # Here and not above: an extra, and 40 ms that most servers never need.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError as error:
        raise VaultMissing(f"own provider keys need the extra {EXTRA}") from error
    return AESGCM


def _name(key: bytes) -> bytes:
    """Public: says which seal key it was, and nothing about it."""
    return hashlib.sha256(b"kproxy seal key\0" + key).digest()[:_NAME]


def _bound(key_id: str, provider: str) -> bytes:
    # Neither holds a NUL, so no two pairs are written alike.
    return f"kproxy provider key\0{key_id}\0{provider}".encode()

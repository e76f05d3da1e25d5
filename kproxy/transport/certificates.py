"""Certificate files in, the TLS context that new connections get out, again whenever they change.

A context is never changed: a connection keeps the one it began with, and new files make a new one.
Its session tickets end with it, so that a caller whose certificate is no longer accepted cannot
resume. Files that are wrong or half written leave the context in force as it was.

Not known here: when to look (`transport/renewal.py`), and what stands in the configuration.
"""

import hashlib
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

__all__ = ["PROTOCOLS", "Credentials", "CredentialsError", "TlsFiles"]

PROTOCOLS = ("h2", "http/1.1")
"""What ALPN offers (RFC 7301), the best first."""

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secrecy and AEAD (RFC 9325 section 4.2). Those of TLS 1.3 are all such."""

FILE_LIMIT = 1_048_576
"""Bytes of one file: a chain has some thousand, a bundle of every public authority 200,000."""


class CredentialsError(Exception):
    """A file is not what it has to be. `field` is that of `TlsFiles`; no content is repeated."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: a chain with the server's certificate first, its key (None: in the same file).

    `client_ca`: callers are asked for a certificate by one of these authorities; with
    `client_required` nobody comes in without.
    """

    certificate: Path
    key: Path | None = None
    client_ca: Path | None = None
    client_required: bool = True


class Credentials:
    """The context of one listener. Raises CredentialsError where there cannot be one yet."""

    def __init__(self, files: TlsFiles) -> None:
        self.files = files
        self._read = _read(files)
        self.context = _context(files, self._read)

    def renew(self) -> bool:
        """Look at the files again: whether they have changed and new connections get them.

        Raises CredentialsError; what was in force stays. Reads files: for a thread.
        """
        found = _read(self.files)
        if found == self._read:
            return False
        self.context = _context(self.files, found)
        self._read = found
        return True


@dataclass(frozen=True, slots=True)
class _Found:
    """What the files held: enough to know them again, without the key."""

    certificate: str
    key: bytes
    client_ca: str


def _read(files: TlsFiles) -> _Found:
    certificate = _pem("certificate", files.certificate, "CERTIFICATE", "certificate")
    source = files.key or files.certificate
    key = _pem("key" if files.key else "certificate", source, "PRIVATE KEY", "private key")
    ca = files.client_ca
    authorities = "" if ca is None else _pem("client_ca", ca, "CERTIFICATE", "certificate")
    return _Found(certificate, hashlib.sha256(key.encode()).digest(), authorities)


def _pem(field: str, file: Path, label: str, what: str) -> str:
    try:
        with file.open("rb") as opened:
            content = opened.read(FILE_LIMIT + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or "not a file name"
        raise CredentialsError(field, f"the file {file} cannot be read: {reason}") from error
    if len(content) > FILE_LIMIT:
        raise CredentialsError(field, f"the file {file} is longer than {FILE_LIMIT} bytes")
    text = content.decode("ascii", "replace")
    if f"{label}-----" not in text:
        raise CredentialsError(field, f"the file {file} holds no {what} in PEM")
    return text


def _context(files: TlsFiles, found: _Found) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(list(PROTOCOLS))
    _trust("certificate", files.certificate, found.certificate, ssl.SSLContext(context.protocol))
    _identify(context, files)
    if files.client_ca is not None:
        _trust("client_ca", files.client_ca, found.client_ca, context)
        required = files.client_required
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    return context


def _trust(field: str, file: Path, text: str, context: ssl.SSLContext) -> None:
    try:
        context.load_verify_locations(cadata=_certificates(text))
    except (ssl.SSLError, ValueError) as error:
        raise CredentialsError(field, f"a certificate in {file} is malformed") from error


def _certificates(text: str) -> str:
    """The certificates alone: what people write between them need not be ASCII or PEM."""
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    parts = text.split(begin)[1:]
    if not all(end in part for part in parts):
        raise ValueError("a certificate does not end")
    return "".join(f"{begin}{part.partition(end)[0]}{end}\n" for part in parts)


def _identify(context: ssl.SSLContext, files: TlsFiles) -> None:
    """Certificate and key. The certificate has been seen to be one, so the key is to blame."""
    key = files.key or files.certificate
    field = "key" if files.key else "certificate"

    def no_password() -> NoReturn:
        raise CredentialsError(field, f"the key in {key} is encrypted: kproxy asks for no password")

    try:
        context.load_cert_chain(files.certificate, files.key, no_password)
    except ssl.SSLError as error:
        reason = error.reason or "malformed"
        if reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
            text = f"the key in {key} does not belong to the certificate in {files.certificate}"
        else:
            text = f"{files.certificate} and the key in {key} cannot be used: {reason}"
        raise CredentialsError(field, text) from error
    except OSError as error:
        raise CredentialsError(field, f"{key} cannot be read: {error.strerror}") from error

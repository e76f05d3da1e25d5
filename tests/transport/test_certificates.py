"""Certificate files: what is refused and by which name, and what a changed file changes."""

import os
import ssl
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from kproxy.transport.certificates import Credentials, CredentialsError, TlsFiles
from tests.fakes.tls import client_context, write_files

CANARY = "canary-canary"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLObject:
    """Both ends in memory; the client's. Raises what either of them raises."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    other = server.wrap_bio(to_server, to_client, server_side=True)
    waiting = [one, other]
    while waiting:
        for end in tuple(waiting):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(end)
    return one


def serial(credentials: Credentials, ca: trustme.CA) -> object:
    shown = handshake(credentials.context, client_context(ca)).getpeercert()
    assert shown is not None
    return shown["serialNumber"]


def refused(files: TlsFiles) -> CredentialsError:
    with pytest.raises(CredentialsError) as caught:
        Credentials(files)
    assert CANARY not in caught.value.reason
    return caught.value


def test_modern_defaults(tmp_path: Path, authority: trustme.CA) -> None:
    context = Credentials(write_files(tmp_path, authority)).context
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_NONE
    for option in (ssl.OP_NO_COMPRESSION, ssl.OP_NO_RENEGOTIATION):
        assert context.options & option
    assert not context.options & ssl.OP_NO_TICKET
    assert context.get_ciphers()
    assert all(one["aead"] and "CBC" not in one["name"] for one in context.get_ciphers())


@pytest.mark.parametrize(
    ("version", "cipher"),
    [
        (ssl.TLSVersion.TLSv1_2, "ECDHE-RSA-AES128-SHA:ECDHE-ECDSA-AES128-SHA:AES128-SHA"),
        (ssl.TLSVersion.TLSv1_2, "AES128-GCM-SHA256"),  # AEAD, but without forward secrecy
    ],
)
def test_what_is_not_modern_is_refused(
    tmp_path: Path, authority: trustme.CA, version: ssl.TLSVersion, cipher: str
) -> None:
    context = Credentials(write_files(tmp_path, authority)).context
    client = client_context(authority)
    client.maximum_version = version
    client.set_ciphers(cipher)
    with pytest.raises(ssl.SSLError):
        handshake(context, client)


@pytest.mark.parametrize(
    ("offered", "taken"),
    [
        (["http/1.1"], "http/1.1"),
        (["http/1.1", "h2"], "h2"),
        (["nonsense", "http/1.1"], "http/1.1"),
        (["nonsense"], None),
    ],
)
def test_the_protocol_that_alpn_takes(
    tmp_path: Path, authority: trustme.CA, offered: list[str], taken: str | None
) -> None:
    client = client_context(authority)
    client.set_alpn_protocols(offered)
    context = Credentials(write_files(tmp_path, authority)).context
    assert handshake(context, client).selected_alpn_protocol() == taken


def test_key_and_chain_in_one_file_with_words_between(
    tmp_path: Path, authority: trustme.CA
) -> None:
    leaf = authority.issue_cert("localhost")
    both = tmp_path / "both.pem"
    words = "Für den Betrieb\n".encode()
    both.write_bytes(words + leaf.private_key_and_cert_chain_pem.bytes() + words)
    assert serial(Credentials(TlsFiles(both)), authority)


class TestRefused:
    def test_files_that_are_not_there(self, tmp_path: Path, authority: trustme.CA) -> None:
        files = write_files(tmp_path, authority, authority)
        assert files.key is not None
        assert files.client_ca is not None
        for field, path in (
            ("client_ca", files.client_ca),
            ("key", files.key),
            ("certificate", files.certificate),
        ):
            path.unlink()
            error = refused(files)
            assert error.field == field
            assert error.reason == f"the file {path} cannot be read: No such file or directory"

    def test_a_key_of_another_certificate(self, tmp_path: Path, authority: trustme.CA) -> None:
        files = write_files(tmp_path, authority)
        assert files.key is not None
        authority.issue_cert("localhost").private_key_pem.write_to_path(files.key)
        error = refused(files)
        assert error.field == "key"
        assert error.reason == (
            f"the key in {files.key} does not belong to the certificate in {files.certificate}"
        )

    def test_a_key_that_is_encrypted(self, tmp_path: Path, authority: trustme.CA) -> None:
        files = write_files(tmp_path, authority)
        assert files.key is not None
        key = load_pem_private_key(files.key.read_bytes(), None)
        lock = BestAvailableEncryption(CANARY.encode())
        files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock))
        error = refused(files)
        assert (error.field, "asks for no password" in error.reason) == ("key", True)

    def test_what_is_no_pem_or_breaks_off(self, tmp_path: Path, authority: trustme.CA) -> None:
        files = write_files(tmp_path, authority, authority)
        assert files.key is not None
        assert files.client_ca is not None
        for path, field, what in (
            (files.certificate, "certificate", "certificate"),
            (files.key, "key", "private key"),
            (files.client_ca, "client_ca", "certificate"),
        ):
            good = path.read_bytes()
            path.write_bytes(CANARY.encode() + b"\xff\0")
            error = refused(files)
            assert (error.field, error.reason) == (field, f"the file {path} holds no {what} in PEM")
            path.write_bytes(good[: len(good) // 2])
            assert refused(files).field == field
            path.write_bytes(good.replace(b"A", b"B"))
            assert refused(files).field == field
            path.write_bytes(b" " * 1_048_577)
            assert refused(files).reason == f"the file {path} is longer than 1048576 bytes"
            path.write_bytes(good)
        Credentials(files)

    def test_a_name_that_cannot_be_one(self, tmp_path: Path) -> None:
        assert "not a file name" in refused(TlsFiles(tmp_path / "a\0b")).reason


class TestRenew:
    def test_unchanged_files_are_left_alone(self, tmp_path: Path, authority: trustme.CA) -> None:
        files = write_files(tmp_path, authority)
        credentials = Credentials(files)
        context = credentials.context
        os.utime(files.certificate, (0, 0))
        assert not credentials.renew()
        assert credentials.context is context

    def test_changed_ones_are_for_new_connections(
        self, tmp_path: Path, authority: trustme.CA
    ) -> None:
        credentials = Credentials(write_files(tmp_path, authority))
        before, old = serial(credentials, authority), credentials.context
        write_files(tmp_path, authority)
        assert serial(credentials, authority) == before, "not before it is told to look"
        assert credentials.renew()
        assert serial(credentials, authority) != before
        assert not credentials.renew()
        shown = handshake(old, client_context(authority)).getpeercert()
        assert shown is not None
        assert shown["serialNumber"] == before, "a handshake under way keeps its certificate"

    def test_wrong_ones_leave_the_old_in_force(self, tmp_path: Path, authority: trustme.CA) -> None:
        files = write_files(tmp_path, authority)
        credentials = Credentials(files)
        before = serial(credentials, authority)
        authority.issue_cert("localhost").cert_chain_pems[0].write_to_path(files.certificate)
        for _ in range(2):
            with pytest.raises(CredentialsError, match="does not belong"):
                credentials.renew()
            assert serial(credentials, authority) == before
        write_files(tmp_path, authority)
        assert credentials.renew()
        assert serial(credentials, authority) != before

    def test_a_changed_client_authority_counts(self, tmp_path: Path, authority: trustme.CA) -> None:
        first, second = trustme.CA(), trustme.CA()
        files = write_files(tmp_path, authority, first)
        credentials = Credentials(files)
        of_first = client_context(authority, first.issue_cert("caller@example.test"))
        of_first.maximum_version = ssl.TLSVersion.TLSv1_2  # there the client hears in time
        handshake(credentials.context, of_first)
        assert files.client_ca is not None
        second.cert_pem.write_to_path(files.client_ca)
        assert credentials.renew()
        with pytest.raises(ssl.SSLError):
            handshake(credentials.context, of_first)


def test_a_client_certificate_is_required_or_only_asked_for(
    tmp_path: Path, authority: trustme.CA
) -> None:
    files = write_files(tmp_path, authority, trustme.CA())
    optional = TlsFiles(files.certificate, files.key, files.client_ca, client_required=False)
    assert handshake(Credentials(optional).context, client_context(authority)).version()
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        handshake(Credentials(files).context, client_context(authority))


def test_a_kept_session_is_resumed(tmp_path: Path, authority: trustme.CA) -> None:
    context, client = (
        Credentials(write_files(tmp_path, authority)).context,
        client_context(authority),
    )
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    first = handshake(context, client)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    again = client.wrap_bio(
        to_client, to_server, server_hostname="localhost", session=first.session
    )
    other = context.wrap_bio(to_server, to_client, server_side=True)
    for end in (again, other, again, other):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
    assert again.session_reused

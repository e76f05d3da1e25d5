"""`listen` and `[[listeners]]`: what they come to, and which line is wrong."""

from ipaddress import ip_network
from pathlib import Path

import pytest
import trustme

from kproxy.config import (
    Address,
    Config,
    ConfigError,
    Listening,
    Overrides,
    SystemdAddress,
    UnixAddress,
    load,
)
from kproxy.config.listeners import TlsPaths, make_credentials

HOME = {"HOME": "/srv/op"}
DEFAULT = Address("127.0.0.1", 4000)


def loaded(folder: Path, text: str, *listen: str, **environ: str) -> Config:
    file = folder / "kproxy.toml"
    file.write_text(text)
    return load(Overrides(listen=listen, config=file), HOME | environ)


def refused(folder: Path, text: str, *listen: str, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(folder, text, *listen, **environ)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{folder}/kproxy.toml:")


def places(config: Config) -> list[object]:
    return [one.place for one in config.listeners]


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of `cert.pem`, `key.pem`, `both.pem`, `ca.pem`, and another's `other.pem`."""
    folder = tmp_path_factory.mktemp("tls")
    ca = trustme.CA()
    leaf = ca.issue_cert("localhost")
    leaf.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    leaf.private_key_pem.write_to_path(folder / "key.pem")
    leaf.private_key_and_cert_chain_pem.write_to_path(folder / "both.pem")
    ca.cert_pem.write_to_path(folder / "ca.pem")
    ca.issue_cert("localhost").private_key_pem.write_to_path(folder / "other.pem")
    return folder


ADMIN = '[[listeners]]\naddress = "0.0.0.0:9100"\nadmin = true\n'
DOOR = '[[listeners]]\naddress = "0.0.0.0:8443"\n'


def test_what_is_opened_by_whom(tmp_path: Path) -> None:
    admin, door = Address("0.0.0.0", 9100), Address("0.0.0.0", 8443)
    listen = 'listen = ["127.0.0.1:1"]\n'
    for text, flags, wanted in [
        ("", (), [DEFAULT]),
        (ADMIN, (), [DEFAULT, admin]),
        (DOOR, (), [door]),
        (DOOR + ADMIN, (), [door, admin]),
        (listen + DOOR, (), [Address("127.0.0.1", 1), door]),
        ("listen = []\n" + DOOR, (), [door]),
        (listen + DOOR + ADMIN, ("[::1]:2",), [Address("::1", 2), door, admin]),
        (DOOR, ("[::1]:2",), [Address("::1", 2), door]),
    ]:
        assert places(loaded(tmp_path, text, *flags)) == wanted
    assert places(loaded(tmp_path, DOOR, KPROXY_LISTEN="a:1, b:2"))[:2] == [("a", 1), ("b", 2)]
    assert [one.admin for one in loaded(tmp_path, DOOR + ADMIN).listeners] == [False, True]


def test_the_variable_port_counts_for_the_files_short_addresses(tmp_path: Path) -> None:
    listen = 'listen = ["127.0.0.1:1", "unix:a.sock", "127.0.0.1:2"]\n'
    unix = UnixAddress(str(tmp_path / "a.sock"))
    assert places(loaded(tmp_path, listen + ADMIN, PORT="3")) == [
        Address("127.0.0.1", 3), unix, Address("0.0.0.0", 9100),
    ]  # fmt: skip
    assert places(loaded(tmp_path, DOOR, PORT="3")) == [Address("0.0.0.0", 8443)]


def test_unix_sockets(tmp_path: Path) -> None:
    text = 'listen = ["unix:a.sock", "unix:/run/b.sock", "unix:~/c.sock"]\n'
    assert places(loaded(tmp_path, text)) == [
        UnixAddress(f"{tmp_path}/a.sock", 0o600),
        UnixAddress("/run/b.sock", 0o600),
        UnixAddress("/srv/op/c.sock", 0o600),
    ]
    text = '[[listeners]]\naddress = "unix:/run/b.sock"\nmode = "0660"\n'
    assert places(loaded(tmp_path, text)) == [UnixAddress("/run/b.sock", 0o660)]
    assert places(loaded(tmp_path, "", "unix:x")) == [UnixAddress(str(Path.cwd() / "x"))]
    assert str(UnixAddress("/run/b.sock", 0o660)) == "unix:/run/b.sock"


def test_sockets_of_systemd(tmp_path: Path) -> None:
    text = 'listen = ["systemd"]\n[[listeners]]\naddress = "systemd:admin"\nadmin = true\n'
    config = loaded(tmp_path, text)
    assert places(config) == [SystemdAddress(""), SystemdAddress("admin")]
    assert [str(one) for one in places(config)] == ["systemd", "systemd:admin"]


def test_proxies(tmp_path: Path) -> None:
    text = DOOR + 'proxy_from = ["10.0.0.0/8", "::1", "unix"]\n'
    (one,) = loaded(tmp_path, text).listeners
    assert one.proxies == (ip_network("10.0.0.0/8"), ip_network("::1/128"))
    assert one.unix_proxy
    (one,) = loaded(tmp_path, DOOR).listeners
    assert (one.proxies, one.unix_proxy, one.tls) == ((), False, None)


def test_tls_files_are_relative_to_the_file(tmp_path: Path, issued: Path) -> None:
    for name in ("cert.pem", "key.pem", "both.pem", "ca.pem"):
        (tmp_path / name).write_bytes((issued / name).read_bytes())
    text = DOOR + 'tls = { certificate = "cert.pem", key = "key.pem" }\n'
    (one,) = loaded(tmp_path, text).listeners
    assert one.tls == TlsPaths(tmp_path / "cert.pem", tmp_path / "key.pem", None, True)
    text = DOOR + '[listeners.tls]\ncertificate = "both.pem"\nclient_ca = "ca.pem"\n'
    (one,) = loaded(tmp_path, text).listeners
    assert one.tls == TlsPaths(tmp_path / "both.pem", None, tmp_path / "ca.pem", True)
    (one,) = loaded(tmp_path, text + 'client = "optional"\n').listeners
    assert one.tls is not None
    assert not one.tls.client_required
    assert make_credentials(one) is not None
    assert make_credentials(Listening(DEFAULT, ())) is None


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (DOOR + "admin = true\n[[listeners]]\n", "4: listeners[1]: address is missing"),
        (DOOR + "port = 1\n", "3: listeners[0].port: unknown key"),
        (DOOR + 'mode = "0660"\n', "3: listeners[0].mode: is for unix sockets"),
        (DOOR + 'proxy_from = ["10.0.0.0/8", "10.0.0.1/8"]\n',
         "3: listeners[0].proxy_from[1]: not a network: write 10.0.0.0/8, an address, or \"unix\""),
        (DOOR + 'proxy_from = ["lb.internal"]\n', "3: listeners[0].proxy_from[0]: not a network"),
        (DOOR + "tls = {}\n", "3: listeners[0].tls: certificate is missing"),
        ('[[listeners]]\naddress = "8443"\n', "2: listeners[0].address: not an address"),
        ('[[listeners]]\naddress = "unix:a"\nmode = "660 "\n', "3: listeners[0].mode: not a mode"),
        ('[[listeners]]\naddress = "unix:a"\nmode = "0999"\n',
         "3: listeners[0].mode: not a mode: three octal digits, each 0 to 7"),
        ('[[listeners]]\naddress = "unix:a"\nmode = 660\n', "3: listeners[0].mode: expected `str`"),
        ('listen = ["unix:/a\\u0000"]\n', "1: listen[0]: not a path"),
        (f'listen = ["unix:/{"a" * 107}"]\n', "1: listen[0]: a unix socket's path has at most 107"),
        ('listen = ["systemd:a:b"]\n', "1: listen[0]: not the name of a socket"),
        ("listen = []\n" + ADMIN, "1: listen: needs at least one address"),
        ('listen = ["0.0.0.0:8443"]\n' + DOOR, "3: listeners[0].address: 0.0.0.0:8443 is listed t"),
        ('listen = ["unix:/a"]\n[[listeners]]\naddress = "unix:/a"\nmode = "0666"\n',
         "3: listeners[0].address: unix:/a is listed twice"),
        ('listeners = "a"\n', "1: listeners: must be written as [[listeners]]"),
    ],
)  # fmt: skip
def test_the_wrong_line_is_named(tmp_path: Path, text: str, wanted: str) -> None:
    assert refused(tmp_path, text).startswith(wanted)


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        (['certificate = "none.pem"'], "4: listeners[0].tls.certificate: the file {}/none.pem "
         "cannot be read: No such file or directory"),
        (['certificate = "cert.pem"'], "4: listeners[0].tls.certificate: the file {}/cert.pem "
         "holds no private key in PEM"),
        (['certificate = "cert.pem"', 'key = "other.pem"'], "5: listeners[0].tls.key: the key in "
         "{0}/other.pem does not belong to the certificate in {0}/cert.pem"),
        (['certificate = "key.pem"', 'key = "key.pem"'], "4: listeners[0].tls.certificate: the "
         "file {}/key.pem holds no certificate in PEM"),
        (['certificate = "both.pem"', 'client_ca = "key.pem"'], "5: listeners[0].tls.client_ca: "
         "the file {}/key.pem holds no certificate in PEM"),
        (['certificate = "both.pem"', 'client = "required"'], "5: listeners[0].tls.client: needs "
         "client_ca: whose certificates are accepted"),
        (['certificate = "both.pem"', 'client_ca = "ca.pem"', 'client = "maybe"'],
         "6: listeners[0].tls.client: must be \"optional\" or \"required\""),
    ],
)  # fmt: skip
def test_a_wrong_tls_file_is_named_with_its_line(
    tmp_path: Path, issued: Path, lines: list[str], wanted: str
) -> None:
    for name in issued.iterdir():
        (tmp_path / name.name).write_bytes(name.read_bytes())
    text = DOOR + "\n".join(["[listeners.tls]", *lines, ""])
    assert refused(tmp_path, text).startswith(wanted.format(tmp_path))


def test_a_sidecar_may_have_an_admin_listener_anywhere_and_unix_sockets(tmp_path: Path) -> None:
    assert loaded(tmp_path, 'auth = "none"\nlisten = ["unix:a"]\n' + ADMIN).auth == "none"
    assert "needs every address on loopback" in refused(tmp_path, 'auth = "none"\n' + DOOR)


def test_the_readmes_listeners(tmp_path: Path, issued: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (text,) = (block for block in readme.split("```") if block.startswith("toml\n[[listeners]]"))
    (tmp_path / "tls").mkdir()
    names = {"chain.pem": "cert.pem", "key.pem": "key.pem", "both.pem": "both.pem"}
    for name, content in {**names, "clients.pem": "ca.pem"}.items():
        (tmp_path / "tls" / name).write_bytes((issued / content).read_bytes())
    found = loaded(tmp_path, text.removeprefix("toml\n")).listeners
    assert [(str(one.place), one.tls is not None, one.admin) for one in found] == [
        ("0.0.0.0:443", True, False),
        ("0.0.0.0:8443", True, False),
        ("unix:/run/kproxy/kproxy.sock", False, False),
        ("0.0.0.0:9100", False, True),
    ]
    assert found[0].proxies == (ip_network("10.0.0.0/8"),)

"""Which URLs and addresses a caller may have fetched: the policy alone, without a network."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.transport.reach import (
    Refused,
    Target,
    check_addresses,
    is_public,
    read_configured,
    read_url,
)
from tests.fakes.address_forms import ADDRESSES_INSIDE, INSIDE, OUTSIDE


def test_there_are_as_many_forms_as_promised():
    assert len(INSIDE) >= 300
    assert len(set(INSIDE)) == len(INSIDE)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_every_form_that_leads_inside_is_refused(scheme):
    passed = []
    for host in INSIDE:
        try:
            passed.append((host, read_url(f"{scheme}://{host}/x")))
        except Refused:
            continue
    assert passed == []


@pytest.mark.parametrize("host", OUTSIDE)
def test_what_is_public_passes(host):
    target = read_url(f"https://{host}/x?y=1#z")
    assert (target.tls, target.port, target.path) == (True, 443, "/x?y=1")
    assert target.host == host.removesuffix(":443").strip("[].").lower()


@pytest.mark.parametrize("address", ADDRESSES_INSIDE)
def test_an_address_inside_is_not_public(address):
    assert not is_public(address)
    with pytest.raises(Refused):
        check_addresses(["93.184.216.34", address])


def test_one_private_address_among_public_ones_is_enough_and_none_are_too_few():
    check_addresses(["93.184.216.34", "2606:4700:4700::1111"])
    with pytest.raises(Refused, match="no address"):
        check_addresses([])


@pytest.mark.parametrize("text", ["fe80::1%lo", "8.8.8.8%1", "2600::1%eth0", "", "x", "1", "0x8"])
def test_what_is_no_plain_address_is_not_public(text):
    assert not is_public(text)


@given(st.ip_addresses(v=4))
def test_no_version_four_address_that_python_knows_as_special_is_public(address):
    known = address.is_private or address.is_multicast or address.is_reserved
    known = known or address.is_link_local or address.is_loopback or address.is_unspecified
    if known:
        assert not is_public(str(address))
    assert not is_public(f"::ffff:{address}")
    nat = IPv6Address(int(IPv6Address("64:ff9b::")) + int(address))
    assert is_public(str(nat)) == is_public(str(address))


@given(st.ip_addresses(v=6))
def test_no_version_six_address_that_python_knows_as_special_is_public(address):
    nat = IPv6Address("64:ff9b::") <= address <= IPv6Address("64:ff9b::ffff:ffff")
    if not address.is_global and not nat:
        assert not is_public(str(address))


@given(st.integers(0, 2**32 - 1))
def test_a_number_is_never_a_host(number):
    for text in (f"{number}", f"0x{number:x}", f"0{number:o}"):
        with pytest.raises(Refused):
            read_url(f"http://{text}/")


@given(st.text(max_size=40))
def test_any_host_is_refused_or_read_as_one_name_or_address(host):
    try:
        target = read_url(f"http://{host}/")
    except Refused:
        return
    assert target.port in (80, 443)
    assert "." in target.host or ":" in target.host
    assert not set(target.host) & set("@/\\?#%[] ")
    assert read_url(target.url) == target


@given(st.text(max_size=60))
def test_any_path_becomes_plain_ascii(path):
    try:
        target = read_url(f"https://example.com/{path}")
    except Refused:
        assert not path.isprintable() or "\\" in path
        return
    assert target.path.isascii()
    assert " " not in target.path
    assert read_url(target.url) == target


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "data:,x", "//a.test/",
        "http:/example.com", "http:example.com", "example.com", "", "http://", "javascript:1",
        "http:///x", "HTTP//example.com", "http://example.com" + "/" * 2_048, "jar:http://a.example",
        " http://example.com/", "http://example.com/\n", "http://example.com/\x00", "hTTp://@/",
    ],
)  # fmt: skip
def test_what_is_no_web_address_is_refused(url):
    with pytest.raises(Refused):
        read_url(url)


def test_one_spelling_of_a_url():
    assert read_url("HTTP://Example.COM:80").url == "http://example.com/"
    assert read_url("https://example.com?q=ä b").url == "https://example.com/?q=%C3%A4%20b"
    assert read_url("http://[2600:0:0::1]:443/a%2Fb").url == "http://[2600::1]:443/a%2Fb"
    assert read_url("http://a.example:8081", frozenset((8081,))).port == 8081


def test_a_refusal_does_not_repeat_what_it_refused():
    for url in ("http://secret-name/", "http://user:secret@a.example/", "http://secret:99/"):
        with pytest.raises(Refused) as refusal:
            read_url(url)
        assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    "url",
    ["http://10.0.0.1:8888", "http://searx:8080/base", "https://[::1]:1/x", "http://localhost"],
)
def test_the_operators_own_address_is_read_as_it_is(url):
    assert read_configured(url).url.removesuffix("/") == url


@pytest.mark.parametrize(
    "url", ["http://0x7f.1/", "http://u@localhost/", "http://a:0/", "searx:80"]
)
def test_the_operators_own_address_is_read_strictly_too(url):
    with pytest.raises(Refused):
        read_configured(url)


def test_an_origin_is_scheme_host_and_port():
    assert read_configured("http://A.example/x").origin == (False, "a.example", 80)
    assert Target(True, "a.example", 8443, "/").url == "https://a.example:8443/"
    assert isinstance(ip_address("1.1.1.1"), IPv4Address)

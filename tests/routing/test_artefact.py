"""A router's file: the same bytes for the same values, and every damage has its name."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.errors import KproxyError
from kproxy.routing.artefact import ArtefactError, pack, unpack
from tests.fakes.answered import trained

HEAD = 8 + 2 + 4 + 4 + 32


def test_it_comes_back():
    found = unpack(trained())
    assert pack(found.table, found.scale, found.vocabulary, found.weights) == trained()


def test_the_digest_is_of_the_table_too():
    found = unpack(trained())
    other = pack(found.table, found.scale * 2, found.vocabulary, found.weights)
    assert unpack(other).digest != found.digest


def test_another_version_is_refused_by_name():
    data = trained()
    with pytest.raises(ArtefactError, match="version 7; this kproxy reads 1"):
        unpack(data[:8] + struct.pack("<H", 7) + data[10:])


@pytest.mark.parametrize("data", [b"", b"KP", b"GIF89a" * 50, b"{}", b"\0" * 1_000])
def test_what_is_no_artefact_is_refused_by_name(data):
    with pytest.raises(ArtefactError, match=r"not a kproxy router artefact|cut"):
        unpack(data)


@given(st.data())
def test_a_cut_anywhere_is_refused_by_name(data):
    whole = trained()
    at = data.draw(st.integers(1, len(whole) - 1))
    with pytest.raises(ArtefactError, match="cut"):
        unpack(whole[:at])


@given(st.data())
def test_one_changed_byte_is_refused_by_name(data):
    whole = bytearray(trained())
    whole[data.draw(st.integers(HEAD, len(whole) - 1))] ^= 0x55
    with pytest.raises(ArtefactError, match="damaged"):
        unpack(bytes(whole))


def test_weights_of_another_size_are_refused():
    found = unpack(trained())
    with pytest.raises(ArtefactError, match="do not fit"):
        unpack(pack(found.table, found.scale, found.vocabulary, found.weights[:-2]))
    with pytest.raises(ArtefactError, match="do not fit"):
        unpack(pack(found.table, float("nan"), found.vocabulary, found.weights))


def test_a_refusal_is_one_of_ours():
    assert issubclass(ArtefactError, KproxyError)


def test_what_follows_the_artefact_is_refused():
    with pytest.raises(ArtefactError, match="damaged"):
        unpack(trained() + b"x")

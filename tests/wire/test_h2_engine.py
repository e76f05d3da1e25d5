"""The engine's three habits that were taken from it."""

import h2.exceptions
import hpack
import pytest

from kproxy.wire.h2_engine import Decoder, make_client, make_engine, mark_secrets
from kproxy.wire.h2_events import H2Limits
from kproxy.wire.limits import H1Limits
from tests.fakes.h2_frames import BEGUN, GET, block, headers, settings


def test_it_never_counts_streams() -> None:
    engine, _ = make_engine(H2Limits(streams=1), H1Limits())
    engine.receive_data(BEGUN + headers(1, end=False) + headers(3, end=False))
    assert engine.open_inbound_streams == 0


def test_it_never_sees_fields() -> None:
    engine, decoder = make_engine(H2Limits(), H1Limits())
    *_, event = engine.receive_data(BEGUN + headers(1, [*GET, ("content-length", "x")], end=False))
    assert list(event.headers) == [(b":method", b"GET")]
    assert decoder.fields[-1] == (b"content-length", b"x")


def test_what_cannot_be_decompressed_has_a_code_of_its_own() -> None:
    with pytest.raises(h2.exceptions.ProtocolError) as broken:
        Decoder().decode(b"\xff\xff")
    assert broken.value.error_code == 0x9


def test_what_grows_too_large_is_another_matter() -> None:
    decoder = Decoder()
    decoder.max_header_list_size = 100
    with pytest.raises(hpack.OversizedHeaderListError):
        decoder.decode(block([("a", "b" * 100)]))


def test_its_table_does_not_grow_with_the_peers_wishes() -> None:
    engine, _ = make_engine(H2Limits(), H1Limits())
    engine.receive_data(BEGUN + settings((1, 2**31)))
    assert engine.encoder.header_table_size == 4096
    engine.receive_data(settings((1, 100)))
    assert engine.encoder.header_table_size == 100, "it may be smaller"


def test_a_client_sees_no_answer_but_whether_it_is_the_last() -> None:
    engine, decoder = make_client(H2Limits(), H1Limits())
    assert engine.local_settings.enable_push == 0
    for status, shown in ((b"103", b"100"), (b"200", b"200"), (b"999", b"200")):
        assert list(decoder.decode(b"\x08\x03" + status)) == [(b":status", shown)]
        assert decoder.fields == [(b":status", status)]
    assert list(decoder.decode(b"")) == [(b":status", b"200")]


def test_credentials_are_marked() -> None:
    marked = mark_secrets([(b"authorization", b"x"), (b"accept", b"y")])
    assert [getattr(one, "indexable", True) for one in marked] == [False, True]

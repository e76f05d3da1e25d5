"""The defaults are those that reliability.md section 4 and the contract name."""

import msgspec
import pytest

from kproxy.config.http2 import Http2Limits
from kproxy.config.model import Address, FileConfig, Limits, ProviderConfig, SimConfig, Timeouts
from kproxy.sim.params import SimParams


def test_limits():
    assert msgspec.structs.asdict(Limits()) == {
        "request_line": 8_192,
        "field": 16_384,
        "fields": 32_768,
        "field_count": 100,
        "body": 33_554_432,
        "chunk_line": 256,
        "chunk_extensions": 16_384,
        "trailers": 8_192,
        "json_depth": 64,
        "json_digits": 64,
        "json_members": 10_000,
        "json_values": 200_000,
        "messages": 10_000,
        "upstream_head": 32_768,
        "upstream_body": 33_554_432,
        "sse_line": 1_048_576,
        "sse_event": 4_194_304,
        "stream_buffer": 262_144,
        "connections": 10_000,
        "connections_per_address": 256,
        "handshakes": 256,
        "http2": Http2Limits(),
    }


def test_timeouts():
    assert msgspec.structs.asdict(Timeouts()) == {
        "handshake": 5,
        "head": 10,
        "body_read": 15,
        "body": 60,
        "keep_alive": 60,
        "write": 60,
        "connect": 5,
        "first_token": 60,
        "gap": 60,
        "total": 600,
        "upstream_keep_alive": 30,
        "queue": 5,
        "turn": 0.25,
        "heartbeat": 15,
    }


def test_the_rest():
    file = FileConfig()
    assert (file.listen, file.auth) == (("127.0.0.1:4000",), "keys")
    assert (file.drain_timeout, file.reference_model) == (600, "gpt-4.1")
    assert file.ledger == "fast"
    assert ProviderConfig().dialect is None


def test_simulated_providers_have_the_same_keys_and_defaults_as_their_params():
    assert SimParams(**msgspec.structs.asdict(SimConfig())) == SimParams()


@pytest.mark.parametrize(
    ("kind", "field", "bad"),
    [(Limits, name, 0) for name in Limits.__struct_fields__]
    + [(Timeouts, name, 0) for name in Timeouts.__struct_fields__]
    + [(Timeouts, name, 86_401) for name in Timeouts.__struct_fields__]
    + [(Limits, "body", (1 << 30) + 1), (Limits, "body", 1.5), (Limits, "body", "32 MiB")]
    + [(ProviderConfig, "max_connections", 0), (FileConfig, "drain_timeout", -1)],
)
def test_numbers_out_of_range_are_refused(kind, field, bad):
    with pytest.raises(msgspec.ValidationError, match=f"at `\\$.{field}`"):
        msgspec.convert({field: bad}, kind)


def test_numbers_at_the_ends_are_taken():
    assert msgspec.convert({"body": 1 << 30, "field_count": 1}, Limits).field_count == 1
    assert msgspec.convert({"total": 86_400}, Timeouts).total == 86_400
    assert msgspec.convert({"drain_timeout": 0}, FileConfig).drain_timeout == 0


def test_an_address_prints_as_it_is_written():
    assert str(Address("::1", 1)) == "[::1]:1"
    assert str(Address("localhost", 1)) == "localhost:1"

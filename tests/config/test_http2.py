"""`[limits.http2]`: the defaults are the wire's own, and every key reaches it."""

import msgspec
import pytest

from kproxy.config.http2 import Http2Limits, h2_limits
from kproxy.wire.h2_events import H2Limits
from kproxy.wire.h2_floods import Allowance


def test_nothing_said_is_what_the_wire_does() -> None:
    assert h2_limits(Http2Limits()) == H2Limits()


def test_every_key_counts() -> None:
    """Each changed by itself changes what the connection is given."""
    usual = h2_limits(Http2Limits())
    names = Http2Limits.__struct_fields__
    found = [h2_limits(Http2Limits(**{name: 70_001})) for name in names]
    assert usual not in found
    assert len({repr(one) for one in found}) == len(names)


def test_what_becomes_of_the_keys() -> None:
    given = Http2Limits(streams=7, header_list=2_048, pings=3, pings_per_second=0.5, resets=9)
    limits = h2_limits(given)
    assert (limits.streams, limits.header_list) == (7, 2_048)
    assert limits.floods.pings == Allowance(3, 0.5)
    assert limits.floods.resets == Allowance(9, 10)


@pytest.mark.parametrize(
    "text",
    [
        b'{"streams":0}', b'{"window":65534}', b'{"connection_window":2147483648}',
        b'{"header_list":1023}', b'{"field_block":0}', b'{"continuations":-1}', b'{"resets":0}',
        b'{"settings":1}', b'{"pings_per_second":-1}', b'{"streams":1.5}', b'{"goaways":1}',
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(text: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=Http2Limits)

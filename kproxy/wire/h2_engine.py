"""The engine of an HTTP/2 connection, as wire/h2.py wants it: limits in, h2 and its hpack out.
The client's side (wire/h2_client.py) is shown answers instead of requests.

Three habits are taken from it here; why stands in wire/h2.py: it does not count streams, it does
not see requests, and its compression table does not grow with the peer's wishes.
"""

from collections.abc import Iterable

import h2.config
import h2.connection
import h2.errors
import h2.exceptions
import h2.settings
import hpack

from kproxy.wire.events import Headers
from kproxy.wire.h2_events import H2Limits
from kproxy.wire.limits import H1Limits

__all__ = ["FRAME", "Decoder", "Engine", "make_client", "make_engine", "mark_secrets"]

FRAME = 16_384
"""The largest payload both ways: ours too, so that streams take turns (RFC 9113 section 4.2)."""

TABLE = 4_096
"""Bytes of a compression table, both ways (RFC 7541 section 4.2: the default)."""

SEEN_BY_THE_ENGINE = [hpack.HeaderTuple(b":method", b"GET")]
SEEN_BY_A_CLIENT = [hpack.HeaderTuple(b":status", b"200")]
INFORMATIONAL = [hpack.HeaderTuple(b":status", b"100")]

SECRETS = frozenset({b"authorization", b"x-api-key", b"api-key", b"cookie"})
"""Fields that no table keeps (RFC 7541 section 7.1.3): one connection carries many callers'."""


class Engine(h2.connection.H2Connection):
    """h2, told to let us count the streams."""

    @property
    def open_inbound_streams(self) -> int:
        """None, whatever the number. Asking has an effect: h2 forgets those that are closed."""
        self._open_streams(1)
        return 0


class Decoder(hpack.Decoder):
    """Keeps the fields of the last block in `fields`, and shows the engine others."""

    fields: Headers

    def decode(self, data: bytes, raw: bool = True) -> Iterable[hpack.HeaderTuple]:
        """See hpack. A block that cannot be read ends the connection (RFC 9113 section 4.3)."""
        try:
            found = super().decode(data, raw)
            self.fields = [(bytes(name), bytes(value)) for name, value in found]
        except hpack.OversizedHeaderListError:
            raise  # h2 knows this one
        except hpack.HPACKError as error:
            broken = h2.exceptions.ProtocolError("a field block cannot be decompressed")
            broken.error_code = h2.errors.ErrorCodes.COMPRESSION_ERROR
            raise broken from error
        return self._shown()

    def _shown(self) -> Iterable[hpack.HeaderTuple]:
        return SEEN_BY_THE_ENGINE


class ReplyDecoder(Decoder):
    """The same for a client: the engine must only know which heads are not the last."""

    def _shown(self) -> Iterable[hpack.HeaderTuple]:
        first = next((value for name, value in self.fields if name == b":status"), b"")
        return INFORMATIONAL if first[:1] == b"1" else SEEN_BY_A_CLIENT


class Encoder(hpack.Encoder):
    """Never keeps a larger table than the default, whatever the peer would hold."""

    @property
    def header_table_size(self) -> int:
        """Bytes of the table."""
        return self.header_table.maxsize

    @header_table_size.setter
    def header_table_size(self, value: int) -> None:
        size = min(value, TABLE)
        self.header_table.maxsize = size
        if self.header_table.resized:
            self.table_size_changes.append(size)


def _config(*, client: bool) -> h2.config.H2Configuration:
    return h2.config.H2Configuration(
        client_side=client,
        header_encoding=None,
        validate_outbound_headers=False,  # `check_fields` does
        normalize_outbound_headers=False,
        validate_inbound_headers=False,  # `h2_head` and `h2_turn` do
        normalize_inbound_headers=False,
    )


def make_engine(limits: H2Limits, h1: H1Limits) -> tuple[Engine, Decoder]:
    """An engine for a server's side, and what keeps the fields that it does not see."""
    engine = Engine(_config(client=False))
    codes = h2.settings.SettingCodes
    engine.local_settings = h2.settings.Settings(
        client=False,
        initial_values={
            codes.MAX_CONCURRENT_STREAMS: limits.streams,
            codes.INITIAL_WINDOW_SIZE: limits.window,
            codes.MAX_HEADER_LIST_SIZE: h1.fields,
            codes.MAX_FRAME_SIZE: FRAME,
        },
    )
    # Twice what is asked for: up to there a caller can be told, behind it the connection ends.
    return engine, _dress(engine, Decoder(), 2 * (h1.fields + h1.request_line))


def make_client(limits: H2Limits, h1: H1Limits) -> tuple[Engine, Decoder]:
    """An engine for a client's side, that takes no pushes, and what keeps the fields."""
    engine = Engine(_config(client=True))
    codes = h2.settings.SettingCodes
    engine.local_settings = h2.settings.Settings(
        client=True,
        initial_values={
            codes.ENABLE_PUSH: 0,
            codes.INITIAL_WINDOW_SIZE: limits.window,
            codes.MAX_HEADER_LIST_SIZE: h1.response_head,
            codes.MAX_FRAME_SIZE: FRAME,
        },
    )
    return engine, _dress(engine, ReplyDecoder(), 2 * h1.response_head)


def _dress(engine: Engine, decoder: Decoder, most: int) -> Decoder:
    decoder.max_header_list_size = most
    engine.decoder = decoder
    engine.encoder = Encoder()
    return decoder


def mark_secrets(fields: Headers) -> Headers:
    """The same fields, those that hold credentials as what is never to be kept."""
    return [
        hpack.NeverIndexedHeaderTuple(name, value) if name in SECRETS else (name, value)
        for name, value in fields
    ]

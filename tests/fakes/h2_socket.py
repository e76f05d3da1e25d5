"""A blocking caller of HTTP/2 on a real socket, that resets streams and chooses what it reads.

Client libraries forget a stream that they are done with and say nothing; this one says it. In: an
address and a key. Out: what came on each stream.
"""

import socket
from typing import Any, Self

import h2.config
import h2.connection
import h2.events
import h2.settings

from tests.fakes.caller import PATIENCE

__all__ = ["H2Socket"]


class H2Socket:
    """`bodies` by stream; `over` holds the streams that have ended, whole or not."""

    def __init__(self, address: tuple[str, int], key: str = "", *, window: int = 65_535) -> None:
        self.socket = socket.create_connection(address, PATIENCE)
        self._key = key
        self.engine = h2.connection.H2Connection(
            h2.config.H2Configuration(header_encoding="latin-1")
        )
        codes = h2.settings.SettingCodes
        self.engine.local_settings = h2.settings.Settings(
            client=True, initial_values={codes.INITIAL_WINDOW_SIZE: window}
        )
        self.engine.initiate_connection()
        self.bodies: dict[int, bytes] = {}
        self.statuses: dict[int, int] = {}
        self.over: set[int] = set()
        self._send()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def _send(self) -> None:
        self.socket.sendall(self.engine.data_to_send())

    def ask(self, path: str, body: bytes = b"") -> int:
        """A request; its stream."""
        stream = self.engine.get_next_available_stream_id()
        fields = [
            (":method", "POST" if body else "GET"), (":scheme", "http"), (":path", path),
            (":authority", "localhost"), ("authorization", f"Bearer {self._key}"),
        ]  # fmt: skip
        self.engine.send_headers(stream, fields, end_stream=not body)
        if body:
            self.engine.send_data(stream, body, end_stream=True)
        self.bodies[stream] = b""
        self._send()
        return stream

    def reset(self, stream: int) -> None:
        """Take a stream back."""
        self.engine.reset_stream(stream, 8)
        self._send()

    def open_window(self, stream: int, size: int) -> None:
        """Of a stream and of the whole."""
        self.engine.increment_flow_control_window(size)
        self.engine.increment_flow_control_window(size, stream)
        self._send()

    def stuff(self, stream: int, size: int) -> None:
        """Hear that much of a stream and open no window for it."""
        while len(self.bodies[stream]) < size:
            for event in self.engine.receive_data(self.socket.recv(65_536)):
                if isinstance(event, h2.events.DataReceived):
                    self.bodies[stream] += event.data

    def hear(self, stream: int, size: int = 1) -> bytes:
        """The body of a stream once that much of it has come, or its end."""
        while len(self.bodies[stream]) < size and stream not in self.over:
            data = self.socket.recv(65_536)
            assert data, "the connection has ended"
            for event in self.engine.receive_data(data):
                self._note(event)
            self._send()
        return self.bodies[stream]

    def whole(self, stream: int) -> bytes:
        """All of it."""
        return self.hear(stream, 2**62)

    def _note(self, event: Any) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            self.statuses[event.stream_id] = int(dict(event.headers)[":status"])
        elif isinstance(event, h2.events.DataReceived):
            self.bodies[event.stream_id] += event.data
            self.engine.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
            self.over.add(event.stream_id)

"""What both sides of an HTTP/2 connection have in common: received bytes in, one frame at a time.

`h2.py` is the server's side and has the essay; `h2_client.py` is the other one. Here frames are cut
apart, held against the rules that are nobody's in particular, counted, and given to the engine.
"""

from abc import abstractmethod
from typing import Generic, TypeVar

import h2.exceptions

from kproxy.wire.h2_engine import FRAME, Engine
from kproxy.wire.h2_floods import Floods
from kproxy.wire.h2_frames import (
    ACK,
    CONTINUATION,
    END_HEADERS,
    GOAWAY,
    HEADERS,
    SETTINGS,
    Code,
    Frame,
    FrameCutter,
    H2Error,
)

__all__ = ["WINDOW", "H2Side"]

WINDOW = 65_535
"""What a connection begins with, whatever SETTINGS say (RFC 9113 section 6.9.2)."""

Said = TypeVar("Said")


class H2Side(Generic[Said]):
    """One side of one connection. `Said` are the events that it makes of what the peer says."""

    def __init__(self, engine: Engine, floods: Floods, window: int) -> None:
        self._engine = engine
        self._floods = floods
        self._cutter = FrameCutter(FRAME)
        self._frames = 0  # that have come
        self._block: int | None = None  # a field block is open, since that frame
        self._over = False  # the last GOAWAY was written for an error
        self._greeted = False  # the peer's SETTINGS have come
        self._out = bytearray()
        engine.initiate_connection()
        if window > WINDOW:
            engine.increment_flow_control_window(window - WINDOW)

    def take_output(self) -> bytes:
        """What is to be sent now; once."""
        data = self._engine.data_to_send()
        if self._out:
            self._out += data
            data = bytes(self._out)
            self._out.clear()
        return data

    def window(self, stream: int) -> int:
        """Bytes of DATA that the peer takes on that stream at this moment."""
        return max(0, self._engine.local_flow_control_window(stream))

    def acknowledge(self, stream: int, size: int) -> None:
        """Bytes of a body were used, or are not wanted: the peer may send as many again."""
        if size and not self._over:
            self._engine.acknowledge_received_data(size, stream)

    @abstractmethod
    def go_away(self, code: int = Code.NO_ERROR) -> None:
        """Say that no stream of the peer's is looked at any more."""

    @abstractmethod
    def _judge(self, frame: Frame, now: float) -> None:
        """What this side has to say against a frame. Raises H2Error."""

    @abstractmethod
    def _left(self, frame: Frame) -> Said:
        """The peer says GOAWAY."""

    @abstractmethod
    def _pass_on(self, frame: Frame, now: float, events: list[Said]) -> None:
        """Give the frame to the engine, and its events to `events`."""

    def _write(self, frame: bytes) -> None:
        """Behind all that the engine has said, a frame that it knows nothing of."""
        self._out += self._engine.data_to_send()
        self._out += frame

    def _hear(self, data: bytes, now: float, events: list[Said]) -> None:
        """What the bytes say, into `events`. Raises H2Error; the output then ends with GOAWAY, and
        is the last."""
        try:
            self._cutter.receive_data(data)
            while (frame := self._cutter.next_frame()) is not None:
                self._take(frame, now, events)
        except h2.exceptions.ProtocolError as error:
            self._over = True  # h2 has written the GOAWAY
            raise H2Error(int(error.error_code), str(error)) from error
        except H2Error as error:
            self._fail(error)
            raise

    def _fail(self, error: H2Error) -> None:
        self.go_away(error.code)
        self._over = True

    def _take(self, frame: Frame, now: float, events: list[Said]) -> None:
        if self._block is not None and frame.kind != CONTINUATION:
            raise H2Error(Code.PROTOCOL_ERROR, "another frame inside of a field block")
        if not self._greeted:
            if frame.kind != SETTINGS or frame.flags & ACK:
                raise H2Error(Code.PROTOCOL_ERROR, "the first frame is not SETTINGS")
            self._greeted = True
        self._frames += 1
        if frame.kind == SETTINGS and frame.flags & ACK and frame.size:
            raise H2Error(Code.FRAME_SIZE_ERROR, "an acknowledgement with content")
        self._floods.frame(frame, now)
        if frame.kind in (HEADERS, CONTINUATION):
            began = self._frames - 1 if self._block is None else self._block
            self._block = None if frame.flags & END_HEADERS else began
        self._judge(frame, now)
        if frame.kind == GOAWAY:
            if frame.stream or frame.size < 8:
                raise H2Error(Code.PROTOCOL_ERROR, "a malformed GOAWAY")
            events.append(self._left(frame))
        elif frame.kind <= CONTINUATION:
            self._pass_on(frame, now, events)

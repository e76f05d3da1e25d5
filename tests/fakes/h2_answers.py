"""An `H2Client` codec, what a provider told it, and what it made of that.

In: frames by hand (`h2_frames.py`). Out: its events, the frames that it sent, and its end.
"""

from collections.abc import Sequence

from kproxy.wire.h2_client import H2Client
from kproxy.wire.h2_events import ClientEvent, H2Limits
from kproxy.wire.h2_frames import ACK, GOAWAY, PREFACE, RST_STREAM, SETTINGS, Frame, frame_bytes
from kproxy.wire.limits import H1Limits
from tests.fakes.h2_frames import frames, settings

__all__ = ["ASK", "BEGUN", "OK", "Asking", "left"]

ASK = [
    (b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"there"), (b":path", b"/v1"),
    (b"content-type", b"application/json"),
]  # fmt: skip
OK = [(":status", "200"), ("content-type", "application/json")]
BEGUN = settings() + frame_bytes(SETTINGS, ACK, 0, b"")
"""What a provider says first."""


def left(last: int, code: int = 0) -> bytes:
    """A provider's GOAWAY."""
    return frame_bytes(GOAWAY, 0, 0, last.to_bytes(4, "big") + code.to_bytes(4, "big"))


class Asking:
    """A codec that has sent requests, told things in one go or by bits.

    `streams`: of each request whether it is whole.
    `ended` is the code of its GOAWAY, None while it goes on; `resets` the codes by stream.
    """

    def __init__(
        self,
        *pieces: bytes,
        streams: Sequence[bool] = (True,),
        limits: H2Limits | None = None,
        h1: H1Limits | None = None,
        begun: bytes = BEGUN,
    ) -> None:
        self.now = 0.0
        self.codec = H2Client(limits or H2Limits(), h1 or H1Limits(), 0.0)
        self.events: list[ClientEvent] = []
        self.sent: list[Frame] = []
        self.ended: int | None = None
        self.resets: dict[int, int] = {}
        for whole in streams:
            self.codec.open(ASK, last=whole)
        self.hear()
        self.say(*([begun] if begun else []), *pieces)

    def say(self, *pieces: bytes) -> None:
        """Tell it more. After its GOAWAY it is told nothing."""
        for piece in pieces:
            if self.ended is not None:
                return
            events, error = self.codec.receive_data(piece, self.now)
            self.events += events
            self.ended = None if error is None else error.code
            self.hear()

    def hear(self) -> None:
        """Take what it wants to send."""
        output = self.codec.take_output()
        if output.startswith(PREFACE):
            output = output[len(PREFACE) :]
        found = frames(output)
        self.sent += found
        for frame in found:
            if frame.kind == RST_STREAM:
                assert frame.stream not in self.resets, "once is enough"
                self.resets[frame.stream] = int.from_bytes(frame.raw[9:13], "big")
        if self.ended is not None:
            last = found[-1]
            assert (last.kind, int.from_bytes(last.raw[13:17], "big")) == (GOAWAY, self.ended)

    def of(self, kind: int) -> list[Frame]:
        """Its frames of one kind."""
        return [frame for frame in self.sent if frame.kind == kind]

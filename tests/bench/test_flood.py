"""The frames that bench/flood.py sends are whole and legal, and it reads what it is told."""

import socket
import threading
from contextlib import suppress

import pytest
from hpack import Decoder
from hyperframe.frame import Frame, GoAwayFrame, HeadersFrame, SettingsFrame

from bench.flood import KINDS, attack, block, goaway

FIRST = {
    "resets": ["HeadersFrame", "RstStreamFrame", "HeadersFrame", "RstStreamFrame"],
    "continuations": ["HeadersFrame", "ContinuationFrame", "ContinuationFrame"],
    "pings": ["PingFrame", "PingFrame", "PingFrame"],
    "settings": ["SettingsFrame", "SettingsFrame", "SettingsFrame"],
    "empties": ["HeadersFrame", "DataFrame", "DataFrame"],
}


def parsed(data: bytes) -> list[Frame]:
    found = []
    while data:
        frame, size = Frame.parse_frame_header(memoryview(data[:9]))
        frame.parse_body(memoryview(data[9 : 9 + size]))
        found.append(frame)
        data = data[9 + size :]
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_sent(kind: str) -> None:
    flood = KINDS[kind](block("kr-key"))
    frames = parsed(b"".join(next(flood) for _ in range(3)))
    names = [type(frame).__name__ for frame in frames]
    assert names[: len(FIRST[kind])] == FIRST[kind]
    if isinstance(frames[0], HeadersFrame):
        assert ("END_HEADERS" in frames[0].flags) is (kind != "continuations")
        fields = dict(Decoder().decode(frames[0].data))
        assert fields[":path"] == "/v1/chat/completions"
        assert fields["authorization"] == "Bearer kr-key"


def test_a_goaway_is_found_behind_other_frames_and_only_when_it_is_whole() -> None:
    said = GoAwayFrame(0, last_stream_id=1, error_code=11).serialize()
    heard = bytearray(SettingsFrame(0).serialize() + said[:-1])
    assert goaway(heard) is None
    heard += said[-1:]
    assert goaway(heard) == 11


@pytest.mark.loopback
def test_an_attack_lasts_until_it_is_ended() -> None:
    said = GoAwayFrame(0, error_code=11).serialize()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def end() -> None:
            line, _ = listener.accept()
            with line:
                line.sendall(said)
                line.shutdown(socket.SHUT_WR)
                with suppress(ConnectionError):
                    while line.recv(1 << 16):
                        pass

        server = threading.Thread(target=end)
        server.start()
        found = attack(listener.getsockname()[1], KINDS["pings"](b""))
        server.join()
    assert found.lasted is not None
    assert found.code == 11

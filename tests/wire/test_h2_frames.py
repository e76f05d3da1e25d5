"""Frames, cut apart."""

import pytest

from kproxy.wire.h2_frames import Code, Frame, FrameCutter, H2Error, frame_bytes


def cut_up(pieces: list[bytes]) -> list[Frame]:
    cutter = FrameCutter(100)
    found = []
    for piece in pieces:
        cutter.receive_data(piece)
        while (frame := cutter.next_frame()) is not None:
            found.append(frame)
    assert cutter.buffered == 0
    return found


WIRE = (
    frame_bytes(0, 1, 7, b"payload") + frame_bytes(4, 0, 0, b"") + frame_bytes(9, 4, 7, bytes(100))
)


def test_one_after_the_other() -> None:
    first, second, third = cut_up([WIRE])
    assert first == Frame(0, 1, 7, 7, b"\0\0\7\0\1\0\0\0\7payload")
    assert second == Frame(4, 0, 0, 0, b"\0\0\0\4\0\0\0\0\0")
    assert (third.kind, third.size) == (9, 100)


@pytest.mark.parametrize("at", range(len(WIRE)))
def test_cut_anywhere(at: int) -> None:
    assert cut_up([WIRE[:at], WIRE[at:]]) == cut_up([WIRE])


def test_too_large_is_refused_by_its_head() -> None:
    cutter = FrameCutter(100)
    cutter.receive_data(frame_bytes(0, 0, 1, bytes(101))[:9])
    with pytest.raises(H2Error) as refused:
        cutter.next_frame()
    assert refused.value.code == Code.FRAME_SIZE_ERROR


def test_the_reserved_bit_is_no_part_of_the_number() -> None:
    (frame,) = cut_up([b"\0\0\0\1\0\xff\xff\xff\xff"])
    assert frame.stream == 2**31 - 1


def test_what_has_begun() -> None:
    cutter = FrameCutter(100)
    assert cutter.begun is None
    cutter.receive_data(WIRE[:3])
    assert cutter.begun is None
    cutter.receive_data(WIRE[3:4])
    assert cutter.begun == 0

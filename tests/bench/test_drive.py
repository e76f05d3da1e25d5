"""What bench/drive.py and bench/mixed.py make of the bytes that came."""

import pytest

from bench.drive import Reply, percentile
from bench.mixed import KINDS, Tally, end_of

STREAM = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
TOLD = b'd\r\ndata: {"x_kairosroute":{"attempts":2,"rescued":[{"at":1}]}}\n\n'
WHOLE = STREAM + TOLD + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
JSON = b"HTTP/1.1 %d X\r\ncontent-length: 2\r\n\r\n{}"
ERROR = b'data: {"error":{}}\n\n'
BY_NAME = {kind.name: kind for kind in KINDS}


def reply(data: bytes, first: float | None = None) -> Reply:
    return Reply(0.0, first, 1.0, data)


@pytest.mark.parametrize(
    ("kind", "data", "end"),
    [
        ("stream", WHOLE, "whole"),
        ("stream", WHOLE.removesuffix(b"0\r\n\r\n"), "cut without a word"),
        ("stream", STREAM + ERROR, "broken"),
        ("stream", WHOLE.replace(TOLD, ERROR), "whole and an error"),
        ("json", JSON % 200, "whole"),
        ("json", (JSON % 200)[:-1], "cut without a word"),
        ("json", JSON % 503, "failed"),
        ("json", JSON % 404, "refused"),
        ("json", JSON % 429, "status 429"),
        ("json", b"", "status 0"),
        ("left-early", b"", "left"),
        ("left-stream", JSON % 503, "failed"),
    ],
)
def test_how_a_call_ended(kind: str, data: bytes, end: str) -> None:
    assert end_of(BY_NAME[kind], reply(data)) == end


def test_who_leaves_at_the_first_text_has_left() -> None:
    assert end_of(BY_NAME["left-stream"], reply(STREAM, first=0.5)) == "left"


def test_the_tally() -> None:
    tally = Tally()
    tally.note(BY_NAME["rescue"], reply(WHOLE))
    assert (tally.attempts["rescue"], tally.joined["rescue"], tally.unexpected()) == (2, 1, [])
    tally.note(BY_NAME["rescue"], reply(JSON % 503))
    assert tally.unexpected() == ["rescue: 1 x failed"]
    assert tally.done == 2


def test_an_answer_without_our_extension() -> None:
    assert reply(JSON % 200).extension == {}


def test_percentiles() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert [percentile(values, percent) for percent in (0, 50, 99, 100)] == [1, 51, 100, 100]
    assert percentile([7.0], 99) == 7.0

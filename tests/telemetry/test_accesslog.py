"""Lines reach their file whole, late rather than at a cost, and never at the cost of a request."""

import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import trio
from trio.testing import MockClock

from kproxy.telemetry.accesslog import (
    INTERVAL,
    PIPE_PIECE,
    QUEUE,
    AccessLine,
    AccessLog,
    AccessLogError,
)

LINE = AccessLine(
    time=datetime(2026, 11, 24, 12, 0, 0, 5_000, UTC),
    request_id="req_1",
    client="192.0.2.1:4000",
    method="GET",
    route="/livez",
    status=200,
    ending="complete",
    total_ms=1.5,
    bytes_out=100,
)


def line(number: int) -> AccessLine:
    return msgspec.structs.replace(LINE, request_id=f"req_{number}")


def opened(path: Path | None) -> AccessLog:
    access = AccessLog(path)
    access.open()
    return access


def numbers(path: Path) -> list[int]:
    return [
        int(json.loads(one)["request_id"].removeprefix("req_"))
        for one in path.read_bytes().splitlines()
    ]


def test_a_line_leaves_out_what_does_not_apply(tmp_path: Path) -> None:
    access = opened(tmp_path / "log")
    access.note(LINE)
    access.close()
    assert (tmp_path / "log").read_text() == (
        '{"time":"2026-11-24T12:00:00.005000Z","request_id":"req_1","client":"192.0.2.1:4000",'
        '"method":"GET","route":"/livez","status":200,"ending":"complete","total_ms":1.5,'
        '"bytes_out":100}\n'
    )
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o640


async def test_lines_of_a_moment_are_written_together(
    tmp_path: Path, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    access = AccessLog(tmp_path / "log")
    wrote, taken = threading.Event(), []

    def write(lines: list[bytes]) -> None:
        taken.append(len(lines))
        wrote.set()

    access._write = write  # type: ignore[method-assign]
    nursery.start_soon(access.run)
    for number in range(1_000):
        access.note(line(number))
    await trio.sleep(INTERVAL / 2)
    assert taken == []
    access.note(line(1_000))
    assert await trio.to_thread.run_sync(wrote.wait, 20)
    assert taken == [1_001]


async def test_what_is_noted_is_written(tmp_path: Path) -> None:
    access = opened(tmp_path / "log")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(access.run)
        for number in range(1_000):
            access.note(line(number))
        nursery.cancel_scope.cancel()
    access.close()
    assert numbers(tmp_path / "log") == list(range(1_000))
    assert (access.written, access.dropped) == (1_000, 0)


def test_what_finds_no_room_is_dropped_and_counted(tmp_path: Path) -> None:
    access = opened(tmp_path / "log")
    for number in range(QUEUE + 7):
        access.note(line(number))
    assert access.dropped == 7
    access.close()
    assert numbers(tmp_path / "log") == list(range(QUEUE))
    assert access.written == QUEUE


def test_a_file_is_added_to_and_may_be_moved_away(tmp_path: Path) -> None:
    file = tmp_path / "log"
    for number in (1, 2):
        access = opened(file)
        access.note(line(number))
        access.close()
    access = opened(file)
    file.rename(tmp_path / "old")
    access.note(line(3))
    access._write(access._taken())
    access.reopen()
    access.note(line(4))
    access.close()
    assert (numbers(tmp_path / "old"), numbers(file)) == ([1, 2, 3], [4])


def test_a_file_that_cannot_be_opened(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(AccessLogError, match="no/log: No such file or directory"):
        AccessLog(tmp_path / "no" / "log").open()
    folder = tmp_path / "folder"
    folder.mkdir()
    access = opened(folder / "log")
    folder.rename(tmp_path / "moved")
    access.reopen()
    access.note(line(1))
    access.close()
    assert numbers(tmp_path / "moved" / "log") == [1], "better there than nowhere"
    assert "No such file" in caplog.text


def test_a_disk_that_is_full_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    access = opened(Path("/dev/full"))
    for number in range(3):
        access.note(line(number))
        access._write(access._taken())
    access.close()
    assert (access.written, access.dropped) == (0, 3)
    assert [one.getMessage() for one in caplog.records] == ["/dev/full: No space left on device"]


def test_pieces_for_a_pipe_hold_whole_lines() -> None:
    reader, writer = os.pipe()
    access = AccessLog(None)
    access._fd = writer
    many = [access._encoder.encode(line(number)) + b"\n" for number in range(60)]
    pieces = []
    access._write_piece = lambda count, piece: pieces.append((count, piece))  # type: ignore[method-assign]
    access._write([*many, b"x" * 5_000 + b"\n"])
    assert b"".join(piece for _, piece in pieces) == b"".join(many) + b"x" * 5_000 + b"\n"
    assert sum(count for count, _ in pieces) == 61
    assert all(piece.endswith(b"\n") for _, piece in pieces)
    assert all(len(piece) <= PIPE_PIECE for _, piece in pieces[:-1])
    os.close(reader)
    os.close(writer)


async def test_a_pipe_that_nobody_reads_holds_up_nothing(tmp_path: Path) -> None:
    """Its write does not come back: lines are dropped in the end, and the process can end."""
    access = opened(tmp_path / "log")
    begun, go = threading.Event(), threading.Event()

    def stuck(count: int, piece: bytes) -> None:
        begun.set()
        go.wait(20)

    access._write_piece = stuck  # type: ignore[method-assign]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(access.run)
        access.note(line(0))
        await trio.to_thread.run_sync(begun.wait, 20)
        for number in range(QUEUE + 2):
            access.note(line(number))
        assert access.dropped == 2
        nursery.cancel_scope.cancel()
    access.close()
    assert access.dropped == QUEUE + 2
    go.set()


def test_what_a_caller_chooses_begins_no_line(tmp_path: Path) -> None:
    access = opened(tmp_path / "log")
    asked = 'a\n{"forged":1}\r\u2028\0"'
    access.note(msgspec.structs.replace(LINE, asked=asked))
    access.close()
    (only,) = (tmp_path / "log").read_bytes().splitlines()
    assert json.loads(only)["asked"] == asked

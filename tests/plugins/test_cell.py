"""One child from outside: it is not believed, and it is gone afterwards."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from kproxy.plugins.cell import Cell, CellFailed, Launch, open_cell
from kproxy.plugins.guest import Ended
from kproxy.plugins.launch import build_launch
from kproxy.plugins.settings import SandboxParams
from tests.fakes.prison import left

# A child that answers the order well; then it does what the test says.
GOOD = """
import json, os, struct, sys, time
def hear():
    (length,) = struct.unpack(">I", sys.stdin.buffer.read(4))
    return json.loads(sys.stdin.buffer.read(length))
def write(data):
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
def say(**message):
    data = json.dumps(message).encode()
    write(struct.pack(">I", len(data)) + data)
hear()
say(kind="ready", layers=[["seccomp", True, "why"]], worker=None)
hear()
"""
NEVER = "\nwhile True: time.sleep(1000)"
PATIENCE = 60.0
PROCESSES = Path("/proc")


def script(text: str) -> Launch:
    return Launch((sys.executable, "-I", "-S", "-c", text), {"tier": "none"}, wrapped=False)


@asynccontextmanager
async def opened(text: str) -> AsyncIterator[Cell]:
    cell = await open_cell(script(text), PATIENCE)
    try:
        yield cell
    finally:
        with trio.move_on_after(PATIENCE, shield=True):
            await cell.close()
        assert left([cell.pid]) == []
        assert not (PROCESSES / str(cell.pid)).exists()  # it was reaped


async def test_output_and_end() -> None:
    end = 'say(kind="out", text="a"); say(kind="out", text="b")\n'
    end += 'say(kind="end", error=None, text="", result="1")'
    async with opened(GOOD + end + NEVER) as cell:
        assert [layer.name for layer in cell.layers] == ["seccomp"]
        assert cell.alive
        assert await cell.run("code", PATIENCE, 100) == (Ended(result="1"), "ab")


@pytest.mark.parametrize(
    "text",
    [
        "write(bytes([0, 0, 0, 2]) + b'[]')",
        "write(bytes([0, 0, 0, 2]) + b'{}')",
        "write(bytes([255, 255, 255, 255]))",
        "say(kind='end', error='none of ours', text='', result=None)",
        "say(kind='end', error=None, text=1, result=None)",
        "say(kind='out', text=['a'])",
        "say(kind='ready', layers=[])",
        "say(kind='nothing')",
        "os._exit(0)",
        "os.abort()",
        "os.kill(os.getpid(), 9)",
        "write(bytes([0, 0]))\nos._exit(0)",
    ],
)
async def test_a_broken_child_is_a_crash(text: str) -> None:
    async with opened(GOOD + text + NEVER) as cell:
        ended, output = await cell.run("code", PATIENCE, 100)
        assert (ended.error, output) == ("crash", "")


async def test_more_output_than_the_bound_is_not_taken() -> None:
    async with opened(GOOD + 'say(kind="out", text="12345")\n' * 3 + NEVER) as cell:
        ended, output = await cell.run("code", PATIENCE, 10)
        assert (ended.error, output) == ("output", "1234512345")


async def test_a_child_that_says_nothing_has_run_out_of_time() -> None:
    """Its deadline is the real clock's, so the test waits for it: a twentieth of a second."""
    async with opened(GOOD + 'say(kind="out", text="a")' + NEVER) as cell:
        ended, _ = await cell.run("code", 0.05, 100)
        assert ended.error == "time"


async def test_a_child_that_ignores_signals_is_ended() -> None:
    ignore = "import signal\nfor n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)\n"
    async with opened(ignore + GOOD + NEVER) as cell:
        cell.kill()


async def test_what_a_child_started_ends_with_it() -> None:
    more = "import subprocess\nfor _ in range(5): subprocess.Popen(['sleep', '1000'])\n"
    more += 'say(kind="end", error=None, text="", result=None)'
    async with opened(GOOD + more + NEVER) as cell:
        assert (await cell.run("code", PATIENCE, 1))[0] == Ended()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("raise SystemExit", "ended before it was ready"),
        (GOOD.replace('kind="ready"', 'kind="end"'), "nothing known"),
        (
            GOOD.replace('kind="ready", layers=[["seccomp", True, "why"]]', 'kind="out", text=""'),
            "turn",
        ),
        (GOOD.replace('kind="ready"', 'kind="refuse", why="no such thing"'), "no such thing"),
        (GOOD.replace('"why"]', '"why", 4]'), "nothing known"),
    ],
)
async def test_a_child_that_does_not_come_up(text: str, reason: str) -> None:
    with pytest.raises(CellFailed, match=reason):
        await open_cell(script(text + NEVER), PATIENCE)


async def test_a_child_that_never_answers() -> None:
    with pytest.raises(CellFailed, match="was not ready within"):
        await open_cell(script("import time" + NEVER), 0.05)


async def test_a_program_that_is_not_there() -> None:
    with pytest.raises(CellFailed, match="No such file"):
        await open_cell(Launch(("/nonexistent",), {}, wrapped=False), PATIENCE)


async def test_montys_worker_goes_first_and_is_reaped() -> None:
    launch = build_launch(SandboxParams(seconds=60), None, wrapped=False)
    assert launch is not None
    cell = await open_cell(launch, PATIENCE)
    try:
        with trio.move_on_after(0.05):
            await cell.run("while True: pass", PATIENCE, 1)
        cell.kill()
    finally:
        with trio.move_on_after(PATIENCE, shield=True):
            await cell.close()
    await cell.close()  # twice is once
    assert left([cell.pid]) == []
    assert not cell.alive

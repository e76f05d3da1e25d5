"""The child program by itself, over its two pipes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from kproxy.plugins.frames import FrameError, pack, read_frame
from kproxy.plugins.launch import build_launch
from kproxy.plugins.settings import SandboxParams

Program = subprocess.Popen[bytes]


@contextmanager
def child(**more: Any) -> Iterator[Program]:
    """A child that has been given nothing yet."""
    launch = build_launch(SandboxParams(), None, wrapped=False)
    assert launch is not None
    given: dict[str, Any] = {"env": {}, "cwd": "/", "start_new_session": True} | more
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(launch.command, **pipes, **given) as process:
        try:
            yield process
        finally:
            process.kill()


def order(**changed: Any) -> dict[str, Any]:
    launch = build_launch(SandboxParams(seconds=60), None, wrapped=False)
    assert launch is not None
    return launch.order | changed


def say(process: Program, message: dict[str, Any]) -> None:
    assert process.stdin is not None
    process.stdin.write(pack(message))
    process.stdin.flush()


def hear(process: Program) -> dict[str, Any]:
    assert process.stdout is not None
    message = read_frame(process.stdout.read)
    assert message is not None
    return message


def layer(ready: dict[str, Any], name: str) -> tuple[bool, str]:
    return next((holds, why) for found, holds, why in ready["layers"] if found == name)


def test_one_piece_of_code_and_an_end() -> None:
    with child() as process:
        say(process, order())
        ready = hear(process)
        assert ready["kind"] == "ready"
        assert layer(ready, "process") == (True, "tried, and refused")
        say(process, {"code": "print('a')\n1"})
        assert hear(process) == {"kind": "out", "text": "a\n"}
        assert hear(process) == {"kind": "end", "error": None, "text": "", "result": "1"}
        assert process.wait() == 0


def test_an_environment_is_noticed() -> None:
    with child(env={"SECRET": "x"}) as process:
        say(process, order())
        assert layer(hear(process), "process") == (False, "the environment is not empty")


def test_a_descriptor_is_noticed() -> None:
    one, other = os.pipe()
    try:
        with child(pass_fds=[one]) as process:
            say(process, order())
            assert layer(hear(process), "process") == (False, "a foreign descriptor is open")
    finally:
        os.close(one)
        os.close(other)


@pytest.mark.parametrize(
    "changed",
    [{"binary": "/nonexistent"}, {"tier": "python", "module": "/nonexistent"}, {"memory": None}],
)
def test_what_cannot_be_prepared_is_refused(changed: dict[str, Any]) -> None:
    with child() as process:
        say(process, order(**changed))
        said = hear(process)
        assert said["kind"] == "refuse"
        assert said["why"]


def test_output_over_the_bound_ends_it_at_once() -> None:
    with child() as process:
        say(process, order(output=10))
        hear(process)
        say(process, {"code": "while True: print('abcdefg')"})
        said = [hear(process), hear(process)]
        while said[-1]["kind"] == "out":
            said.append(hear(process))
        assert "".join(part["text"] for part in said[:-1]) == "abcdefg\nab"
        assert said[-1]["error"] == "output"


def test_without_a_parent_it_ends() -> None:
    with child() as process:
        say(process, order())
        hear(process)
        say(process, {"code": "while True: pass"})
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait() != 0


def test_an_order_that_is_no_frame_ends_it() -> None:
    with child() as process:
        assert process.stdin is not None
        process.stdin.write(b"\xff\xff\xff\xff")
        process.stdin.flush()
        with pytest.raises((AssertionError, FrameError)):
            hear(process)
        assert process.wait() != 0


def test_nothing_that_prints_is_taken_for_a_frame() -> None:
    """The pipes are moved away before anything is imported that could print."""
    code = (
        "import os, sys; sys.argv = ['x']; from kproxy.plugins import inmate;"
        "channel = inmate.Channel(); print('noise', flush=True); os.write(2, b'noise');"
        "channel.send(kind='out', text='said')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], stdin=subprocess.DEVNULL, capture_output=True, check=True
    )
    assert done.stdout == pack({"kind": "out", "text": "said"})
    assert done.stderr == b""

"""Monty as a guest, without anything around it."""

from collections.abc import Iterator

import pytest

from kproxy.plugins.guest import Ended, GuestOrder
from kproxy.plugins.launch import build_launch
from kproxy.plugins.monty import MontyGuest
from kproxy.plugins.settings import SandboxParams

ORDER = GuestOrder(seconds=60.0, memory=1 << 26, text=1000)


@pytest.fixture
def guest(order: GuestOrder = ORDER) -> Iterator[MontyGuest]:
    with_worker = started(ORDER)
    yield with_worker
    with_worker.close()


def started(order: GuestOrder) -> MontyGuest:
    launch = build_launch(SandboxParams(), None, wrapped=False)
    assert launch is not None
    guest = MontyGuest(order, launch.order["binary"])
    guest.prepare()
    guest.start()
    return guest


def run(guest: MontyGuest, code: str, most: int = 100) -> tuple[Ended, str]:
    said: list[str] = []

    def emit(text: str) -> bool:
        said.append(text)
        return len("".join(said)) <= most

    return guest.run(code, emit), "".join(said)


def test_what_is_printed_and_what_comes_out(guest: MontyGuest) -> None:
    assert guest.worker is not None
    assert run(guest, "print('a')\n[1, 'b']") == (Ended(result="[1, 'b']"), "a\n")
    assert run(guest, "None") == (Ended(), "")


@pytest.mark.parametrize(
    ("code", "kind", "says"),
    [
        ("x = (", "syntax", "SyntaxError"),
        ("1 / 0", "exception", "ZeroDivisionError"),
        ("raise TimeoutError('mine')", "exception", "mine"),
        ("import socket", "exception", "socket"),
        ("def g():\n    yield 1", "exception", "yield"),
        ("'a' * 10 ** 9", "memory", "limit"),
        ("import time\ntime.sleep(3600)", "time", "limit"),
    ],
)
def test_errors_by_kind(guest: MontyGuest, code: str, kind: str, says: str) -> None:
    ended, _ = run(guest, code)
    assert ended.error == kind, ended
    assert says in ended.text


def test_a_flood_is_an_output_error(guest: MontyGuest) -> None:
    ended, said = run(guest, "print('x' * 1000)")
    assert ended.error == "output"
    assert said


def test_a_loop_runs_out_of_time() -> None:
    guest = started(GuestOrder(seconds=0.05, memory=1 << 26, text=1000))
    try:
        assert run(guest, "while True: pass")[0].error == "time"
    finally:
        guest.close()


@pytest.mark.parametrize("code", ["'x' * 5000", "b'x' * 5000", "['x' * 5000]", "1/0 if 0 else 'a'"])
def test_a_result_is_one_character_over_the_bound_at_most(guest: MontyGuest, code: str) -> None:
    result = run(guest, code)[0].result
    assert result is not None
    assert len(result) <= ORDER.text + 1


def test_a_result_too_deep_to_write(guest: MontyGuest) -> None:
    ended, _ = run(guest, "x = []\nfor _ in range(20000): x = [x]\nx")
    assert ended.error is not None or "too deeply" in (ended.result or "")

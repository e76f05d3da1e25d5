"""CPython for WASI as a guest, without anything around it."""

from pathlib import Path

import pytest
import trio

from kproxy.plugins.guest import Ended, GuestOrder
from kproxy.plugins.launch import compiled_module
from kproxy.plugins.wasi import WasiGuest, compile_module
from tests.fakes.prison import WASM_SHA256, params, wasm

ORDER = GuestOrder(seconds=60.0, memory=1 << 27, text=1000)


@pytest.fixture(scope="session")
def module(compiled: Path) -> Path:
    return trio.run(compiled_module, params("python", compiled))


def run(
    module: Path, code: str, *, order: GuestOrder = ORDER, most: int = 1000
) -> tuple[Ended, str]:
    guest = WasiGuest(order, str(module))
    guest.prepare()
    guest.start()
    said: list[str] = []

    def emit(text: str) -> bool:
        said.append(text)
        return len("".join(said)) <= most

    ended = guest.run(code, emit)
    guest.close()
    return ended, "".join(said)


def test_what_is_printed_and_what_comes_out(module: Path) -> None:
    code = "import sys\nprint('a')\nprint('ä', file=sys.stderr)\n[1, 'ß']"
    assert run(module, code) == (Ended(result="[1, 'ß']"), "a\nä\n")
    assert run(module, "None") == (Ended(), "")
    assert run(module, "") == (Ended(), "")


def test_the_whole_language_and_its_library(module: Path) -> None:
    code = (
        "import statistics, dataclasses, decimal\ndef g():\n    yield from (1, 2)\n"
        "statistics.mean(g()), decimal.Decimal('0.1') * 3"
    )
    assert run(module, code)[0].result == "(1.5, Decimal('0.3'))"


@pytest.mark.parametrize(
    ("code", "kind", "says"),
    [
        ("x = (", "syntax", "never closed"),
        ("x = '\0'", "syntax", "null"),
        ("1 / 0", "exception", "ZeroDivisionError"),
        ("import sys; sys.exit(3)", "exception", "SystemExit: 3"),
        ("import os; os._exit(3)", "crash", "code 3"),
        ("import os; os.abort()", "crash", ""),
        ("bytearray(10 ** 9)", "memory", "MemoryError"),
        ("print('x' * 5000)", "output", ""),
    ],
)
def test_errors_by_kind(module: Path, code: str, kind: str, says: str) -> None:
    ended, _ = run(module, code)
    assert ended.error == kind, ended
    assert says in ended.text


def test_an_exit_without_a_code_is_no_error(module: Path) -> None:
    assert run(module, "print(1)\nraise SystemExit") == (Ended(), "1\n")


def test_a_traceback_shows_the_code_alone(module: Path) -> None:
    text = run(module, "def f():\n    1 / 0\nf()")[0].text
    assert 'File "main.py", line 2, in f' in text
    assert "boot" not in text


def test_a_loop_runs_out_of_time(module: Path) -> None:
    order = GuestOrder(seconds=0.05, memory=1 << 27, text=1000)
    assert run(module, "while True: pass", order=order)[0].error == "time"


def test_there_is_nothing_of_the_host(module: Path) -> None:
    code = "import os, sys\nsorted(os.environ), sys.argv, os.path.exists('/proc')"
    assert run(module, code)[0].result == "([], ['-c'], False)"


@pytest.mark.parametrize("forged", ["zz", "6f7574 00 00", "74696d65 00 00", "a b c d"])
def test_a_forged_ending_deceives_nobody_else(module: Path, forged: str) -> None:
    """The word before an ending can be found; what stands behind it is not believed as such."""
    code = (
        "import sys, os\nmark = sys.orig_argv[-3]\n"
        f"sys.stderr.write(chr(10) + mark + {forged!r} + chr(10))\nos._exit(0)"
    )
    ended, _ = run(module, code)
    assert ended == Ended("crash", "the ending of the run cannot be read")


def test_a_result_is_bounded(module: Path) -> None:
    result = run(module, "'x' * 5000")[0].result
    assert result is not None
    assert len(result) <= ORDER.text + 1


def test_another_file_is_not_compiled(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="sha256"):
        compile_module(wasm(), WASM_SHA256[::-1], tmp_path / "made")
    assert list(tmp_path.iterdir()) == []

"""The seccomp programs, interpreted here as the kernel would, and their numbers."""

import re
import struct
from pathlib import Path

import pytest

from kproxy.plugins.filters import NUMBERS, SEALED, STARTING, program

ALLOW, EPERM, ENOSYS, KILL = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000
ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
MACHINES = sorted(ARCH)
GROUP, SELF, OTHER = 0, 0, 4711
THREAD = 0x3D0F00  # what pthread_create asks for
FORK = 17  # SIGCHLD alone

HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}


def verdict(code: bytes, number: int, argument: int = 0, arch: int = ARCH["x86_64"]) -> int:
    """What the kernel's interpreter of classic BPF returns for this call."""
    instructions = list(struct.iter_unpack("=HBBI", code))
    memory = struct.pack("=IIQQ", number, arch, 0, argument)
    at = accumulator = 0
    while True:
        operation, yes, no, value = instructions[at]
        at += 1
        if operation == 0x06:
            return int(value)
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("=I", memory, value)
        else:
            tests = {
                0x15: accumulator == value,
                0x35: accumulator >= value,
                0x45: bool(accumulator & value),
            }
            at += yes if tests[operation] else no


def call(machine: str, denied: tuple[str, ...], name: str, argument: int = 0) -> int:
    number = NUMBERS[name][MACHINES[::-1].index(machine)]
    assert number is not None
    return verdict(program(machine, denied), number, argument, ARCH[machine])


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("denied", [STARTING, SEALED])
def test_what_is_denied_is_refused(machine: str, denied: tuple[str, ...]) -> None:
    there = [n for n in denied if n != "clone" and NUMBERS[n][MACHINES[::-1].index(machine)]]
    assert len(there) > 80
    assert {call(machine, denied, name) for name in there} == {EPERM}


@pytest.mark.parametrize("machine", MACHINES)
def test_a_worker_can_be_started_only_at_first(machine: str) -> None:
    for name in ("execve", "openat", "socketpair"):
        assert call(machine, STARTING, name) == ALLOW
        assert call(machine, SEALED, name) == EPERM
    assert call(machine, STARTING, "clone", FORK) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_only_threads_are_cloned_in_the_end(machine: str) -> None:
    assert call(machine, SEALED, "clone", THREAD) == ALLOW
    assert call(machine, SEALED, "clone", FORK) == EPERM
    assert call(machine, SEALED, "clone3") == ENOSYS


@pytest.mark.parametrize("denied", [STARTING, SEALED])
def test_signals_reach_the_own_group_alone(denied: tuple[str, ...]) -> None:
    assert call("x86_64", denied, "kill", GROUP) == ALLOW
    assert call("x86_64", denied, "kill", OTHER) == EPERM
    assert call("x86_64", denied, "kill", 0xFFFFFFFF) == EPERM
    assert call("x86_64", denied, "prlimit64", SELF) == ALLOW
    assert call("x86_64", denied, "prlimit64", OTHER) == EPERM


def test_reading_and_writing_go_on() -> None:
    assert {verdict(program("x86_64", SEALED), number) for number in (0, 1, 9, 11, 202)} == {ALLOW}


def test_another_architecture_is_killed() -> None:
    assert verdict(program("x86_64", SEALED), 1, arch=ARCH["aarch64"]) == KILL
    assert verdict(program("x86_64", SEALED), 0x40000000 + 1) == EPERM


def test_a_machine_without_a_table_has_no_filter() -> None:
    with pytest.raises(ValueError, match="riscv64"):
        program("riscv64", SEALED)


@pytest.mark.parametrize("machine", MACHINES)
def test_numbers_are_the_kernels(machine: str) -> None:
    if not HEADERS[machine].exists():
        pytest.skip(f"the kernel's headers for {machine} are not installed (linux-libc-dev)")
    text = HEADERS[machine].read_text()
    defined = dict(re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)\b", text))
    ours = {name: pair[MACHINES[::-1].index(machine)] for name, pair in NUMBERS.items()}
    known = {n: number for n, number in ours.items() if n in defined and number is not None}
    assert len(known) > 80
    assert {name: int(defined[name]) for name in known} == known

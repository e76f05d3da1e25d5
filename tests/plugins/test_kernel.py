"""Kernel calls that Python does not have, each tried in a process of its own."""

import os
import platform
from pathlib import Path

import pytest

from kproxy.plugins import kernel
from tests.fakes.bare import run_bare


def need_landlock() -> None:
    try:
        kernel.landlock_version()
    except OSError as error:
        pytest.skip(f"this kernel has no Landlock: {error}")


def test_no_new_privileges_is_for_ever() -> None:
    code = """
import json
from kproxy.plugins import kernel
before = kernel.has_no_new_privileges()
kernel.forbid_new_privileges()
print(json.dumps([before, kernel.has_no_new_privileges()]))
"""
    assert run_bare(code)[1] is True


def test_landlock_leaves_what_is_named(tmp_path: Path) -> None:
    need_landlock()
    (tmp_path / "open").write_text("open")
    (tmp_path / "shut").write_text("shut")
    code = """
import json
from kproxy.plugins import kernel
kernel.forbid_new_privileges()
kernel.restrict_files((sys.argv[1] + "/open", sys.argv[1] + "/missing"))
def tried(name, mode):
    try:
        return open(sys.argv[1] + name, mode).read()
    except OSError as error:
        return type(error).__name__
found = [tried("/open", "r"), tried("/shut", "r"), tried("/open", "a"), tried("/new", "x")]
print(json.dumps(found))
"""
    assert run_bare(code, str(tmp_path)) == ["open", *["PermissionError"] * 3]


def test_a_filter_is_for_every_thread() -> None:
    if platform.machine() not in ("x86_64", "aarch64"):
        pytest.skip(f"no table of system calls for {platform.machine()}")
    code = """
import json, platform, threading, os
from kproxy.plugins import kernel
from kproxy.plugins.filters import SEALED, program
go, said = threading.Event(), []
def other():
    go.wait()
    try:
        os.fork()
    except PermissionError:
        said.append("refused")
thread = threading.Thread(target=other)
thread.start()
kernel.forbid_new_privileges()
kernel.install_filter(platform.machine(), program(platform.machine(), SEALED))
go.set()
thread.join()
print(json.dumps(said))
"""
    assert run_bare(code) == ["refused"]


def test_capabilities_are_gone() -> None:
    code = """
import json, platform
from kproxy.plugins import kernel
kernel.abandon_capabilities(platform.machine())
with open("/proc/self/status") as status:
    print(json.dumps([int(line.split()[1], 16) for line in status if line.startswith("CapEff")]))
"""
    assert run_bare(code) == [0]


def test_an_unknown_machine_is_an_error() -> None:
    with pytest.raises(OSError, match="riscv64"):
        kernel.abandon_capabilities("riscv64")


def test_what_the_kernel_refuses_is_raised() -> None:
    with pytest.raises(OSError, match=os.strerror(22)):
        kernel.unshare(0xFFFF)

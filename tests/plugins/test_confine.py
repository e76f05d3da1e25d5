"""The layers without an interpreter before them: CPython itself, as if it had been broken out of.

Each attempt is made by a real process that has been confined as a child is. What this machine does
not have (user namespaces, Landlock) is skipped with the kernel's reason; what it has must hold.
"""

import json
import os
import platform
from pathlib import Path
from typing import Any

import pytest

from kproxy.plugins import layers
from kproxy.plugins.launch import host_marks
from tests.fakes.bare import run_bare

CONFINED = """
import ctypes, io, json, os, resource, signal, socket, threading, time
from kproxy.plugins.confine import Bounds, Confinement
host, folder, parent, *attempts = json.loads(sys.argv[1])
confinement = Confinement(host)
confinement.leave()
confinement.limit(Bounds(1 << 30, 256 << 20, 60))
confinement.close_files()
confinement.filter_starting()
confinement.seal()
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    if libc.syscall(*arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")
said = {}
for attempt in attempts:
    try:
        exec(attempt)
        said[attempt] = "won"
    except BaseException as error:
        said[attempt] = type(error).__name__
found = [[layer.name, layer.holds, layer.why] for layer in confinement.layers("")]
sys.stdout.write(json.dumps([found, said]) + "\\n")
"""

# By the layer that refuses it; any of several may come first.
ATTEMPTS = (
    "open('/etc/passwd')",
    "open(folder + '/secret')",
    "open(folder + '/new', 'w')",
    "os.listdir('/')",
    "os.unlink(folder + '/secret')",
    "os.chmod(folder + '/secret', 0o777)",
    "os.mkdir(folder + '/made')",
    "os.symlink('a', folder + '/link')",
    "socket.socket()",
    "socket.socket(socket.AF_UNIX)",
    "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "socket.socketpair()",
    "os.fork()",
    "os.forkpty()",
    "os.posix_spawn('/bin/true', ['true'], {})",
    "os.execv('/bin/true', ['true'])",
    "os.kill(parent, 0)",
    "os.kill(-1, signal.SIGTERM)",
    "os.kill(1, 0)",
    "os.setsid()",
    "os.setpgid(0, 0)",
    "os.setuid(0)",
    "os.setresuid(1, 1, 1)",
    "os.setgroups([])",
    "os.chroot('/')",
    "os.pidfd_open(parent)",
    "os.memfd_create('x')",
    "os.sethostname('x') if hasattr(os, 'sethostname') else call(170, b'x', 1)",
    "resource.setrlimit(resource.RLIMIT_NOFILE, (10_000, 10_000))",
    "resource.prlimit(parent, resource.RLIMIT_NOFILE, (9, 9))",
    "time.clock_settime(time.CLOCK_REALTIME, 0)",
    "call(101, 16, parent, 0, 0)",  # ptrace attach, where the numbers are x86_64's
    "call(165, b'none', b'/', b'tmpfs', 0, None)",  # mount
    "call(272, 0x10000000)",  # unshare a user namespace
    "call(321, 0, None, 0)",  # bpf
    "call(425, 1, None)",  # io_uring_setup
    "call(250, 0, 0, 0)",  # keyctl
    "call(310, parent, None, 0, None, 0, 0)",  # process_vm_readv
    "bytearray(1 << 30)",
)
# Enough of a process to compute and to speak.
ALLOWED = (
    "bytearray(1 << 20)",
    "threading.Thread(target=int).start()",
    "os.urandom(8)",
    "time.time()",
    "os.getpid()",
)


@pytest.fixture(scope="session")
def confined(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, str]]:
    folder = tmp_path_factory.mktemp("host")
    (folder / "secret").write_text("secret")
    order = [host_marks(), str(folder), os.getpid(), *ATTEMPTS, *ALLOWED]
    found, said = run_bare(CONFINED, json.dumps(order))
    assert sorted(path.name for path in Path(folder).iterdir()) == ["secret"]
    return {name: (holds, why) for name, holds, why in found}, said


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_it_is_refused(confined: Any, attempt: str) -> None:
    found, said = confined
    if not found[layers.SECCOMP][0]:
        pytest.skip(f"no seccomp here: {found[layers.SECCOMP][1]}")
    if attempt.startswith("call(") and platform.machine() != "x86_64":
        pytest.skip("the number is x86_64's")
    assert said[attempt] in ("PermissionError", "OSError", "MemoryError", "ValueError"), attempt


@pytest.mark.parametrize("attempt", ALLOWED)
def test_it_can_still_work(confined: Any, attempt: str) -> None:
    assert confined[1][attempt] == "won"


@pytest.mark.parametrize("name", [name for name in layers.LAYERS if name != layers.INTERPRETER])
def test_a_layer_holds_where_the_kernel_lets_it(confined: Any, name: str) -> None:
    holds, why = confined[0][name]
    if name == layers.BUBBLEWRAP:
        assert not holds, "there is none around this one"
        return
    if not holds and name not in layers.ALWAYS:
        pytest.skip(f"the kernel refuses {name}: {why}")
    assert holds, why


def test_what_was_not_done_does_not_hold() -> None:
    code = """
import json
from kproxy.plugins.confine import Confinement
found = Confinement({}).layers("something was inherited")
print(json.dumps([[layer.name, layer.why] for layer in found if layer.holds]))
"""
    assert [name for name, _ in run_bare(code)] in ([], ["rlimits"], ["no-new-privs", "rlimits"])


def test_the_hosts_namespaces_are_known() -> None:
    code = """
import json
from kproxy.plugins.confine import Confinement
print(json.dumps(Confinement(json.loads(sys.argv[1]))._foreign("net", "pid")))
"""
    assert run_bare(code, json.dumps(host_marks())) == "the net namespace is the host's"
    assert run_bare(code, json.dumps({"net": 1, "pid": 1})) == ""


def test_cpu_time_is_the_kernels_to_end() -> None:
    code = """
import json, os, signal
from kproxy.plugins.confine import Bounds, Confinement
child = os.fork()
if child == 0:
    Confinement({}).limit(Bounds(1 << 30, 1 << 30, 1))
    while True: pass
_, status = os.waitpid(child, 0)
print(json.dumps(os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL)))
"""
    assert run_bare(code) is True

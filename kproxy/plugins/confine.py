"""Inside the child, before any foreign code: gives up rights step by step, and then tries whether
they are gone. Steps in, a list of `Layer` out.

Problem: a setting that was asked for is not a setting that holds. Containers refuse namespaces,
kernels lack Landlock, root ignores RLIMIT_NPROC, and each fails in silence or in a way of its own.

Our way: every step may fail without ending the child, and remembers why. Afterwards each layer is
put to the proof by doing what it forbids: opening a file, making a socket, forking. Only what was
refused counts. The parent decides whether that is enough; this file decides nothing.

The order matters. Root is given up before the user namespace is made, because inside of one nobody
else's identity can be taken. The namespaces come while the process has one thread. NPROC is counted
per user namespace, so it is set inside of it; without one it would count every process of that user
on the machine, and is left alone: then the filter alone refuses to fork. `nobody` (65534) has no
files, and its processes cannot trace each other once they are not dumpable.
"""

import contextlib
import os
import platform
import resource
import socket
from dataclasses import dataclass

from kproxy.plugins import kernel, layers
from kproxy.plugins.filters import SEALED, STARTING, program
from kproxy.plugins.layers import Layer

__all__ = ["Bounds", "Confinement"]

NOBODY = 65_534
PROCESSES = 64  # and threads, of this child and its worker: six on two cores
PROCESSES_PER_CORE = 4
DESCRIPTORS = 64
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the kernel is to enforce: bytes and seconds of CPU."""

    address_space: int
    data: int
    cpu: int


class Confinement:
    """The steps, in the order of their methods; `layers` tells what came of them."""

    def __init__(self, host: dict[str, int]) -> None:
        self._machine = platform.machine()
        self._host = host  # inode of /proc/self/ns/NAME in the parent; {} where it cannot tell
        self._failed: dict[str, str] = {}
        self._tried: dict[str, str] = {}
        self._bounds: dict[int, int] = {}
        self._processes: dict[int, int] = {}

    def _step(self, layer: str, error: Exception) -> None:
        self._failed.setdefault(layer, str(error) or type(error).__name__)

    def limit(self, bounds: Bounds) -> None:
        """rlimits, a low priority, and the first place when memory runs out."""
        self._bounds = {
            resource.RLIMIT_CORE: 0,
            resource.RLIMIT_FSIZE: 0,
            resource.RLIMIT_MEMLOCK: 0,
            resource.RLIMIT_NOFILE: DESCRIPTORS,
            resource.RLIMIT_CPU: bounds.cpu,
            resource.RLIMIT_AS: bounds.address_space,
            resource.RLIMIT_DATA: bounds.data,
        }
        self._lower(self._bounds)
        try:
            os.nice(5)
            with open("/proc/self/oom_score_adj", "w") as score:
                score.write("1000")
        except OSError:
            pass  # both are a courtesy to the host, no layer

    def _lower(self, bounds: dict[int, int]) -> None:
        for kind, value in bounds.items():
            try:
                resource.setrlimit(kind, (value, value))
            except (OSError, ValueError) as error:
                self._step(layers.RLIMITS, error)

    def leave(self) -> None:
        """Namespaces of our own, and nobody's identity; needs a process of one thread."""
        flags = kernel.CLONE_NAMESPACES
        if os.getuid() == 0:
            # Without the right to do it, the second try is the one that counts.
            with contextlib.suppress(OSError):
                kernel.unshare(flags)
                flags = 0
            self._become_nobody()
        if self._unshare(kernel.CLONE_NEWUSER | flags):
            most = PROCESSES + PROCESSES_PER_CORE * (os.cpu_count() or 1)
            self._processes = {resource.RLIMIT_NPROC: most}
            self._lower(self._processes)
        try:
            kernel.abandon_capabilities(self._machine)
            kernel.forbid_new_privileges()
        except OSError as error:
            self._step(layers.NO_NEW_PRIVS, error)
        # How this kernel shows them; later /proc is out of reach.
        self._tried[layers.NAMESPACES] = self._foreign("net", "user")
        self._tried[layers.BUBBLEWRAP] = self._foreign("pid")
        self._tried[layers.UNPRIVILEGED] = self._rights()

    def _unshare(self, flags: int) -> bool:
        try:
            kernel.unshare(flags)
        except OSError as error:
            self._step(layers.NAMESPACES, error)
            return False
        return True

    def _become_nobody(self) -> None:
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            kernel.set_dumpable(dumpable=True)
        except OSError as error:
            self._step(layers.UNPRIVILEGED, error)

    def _foreign(self, *names: str) -> str:
        """ "" when each of these namespaces is another than the host's, else what is wrong."""
        for name in names:
            try:
                here = os.stat(f"/proc/self/ns/{name}").st_ino
            except OSError as error:
                return f"/proc/self/ns/{name}: {error.strerror}"
            if here == self._host.get(name, here):
                return f"the {name} namespace is the host's"
        return ""

    def _rights(self) -> str:
        if layers.UNPRIVILEGED in self._failed:
            return "still root"
        try:
            with open("/proc/self/status") as status:
                effective = next(line for line in status if line.startswith("CapEff:"))
        except OSError as error:
            return f"/proc/self/status: {error.strerror}"
        return "" if int(effective.split()[1], 16) == 0 else "capabilities are left"

    def close_files(self, readable: tuple[str, ...] = ()) -> None:
        """Landlock: `readable`, and the system's libraries when there is anything to start."""
        try:
            kernel.restrict_files((*readable, *_LIBRARIES) if readable else ())
        except OSError as error:
            self._step(layers.LANDLOCK, error)
        else:
            self._tried[layers.LANDLOCK] = _opens(os.devnull, "/etc/passwd", "/proc/self/status")

    def filter_starting(self) -> None:
        """The filter under which a worker may still be started."""
        self._filter(STARTING)

    def seal(self) -> None:
        """The last filter: from here on nothing can be opened, started or reached."""
        kernel.set_dumpable(dumpable=False)
        self._filter(SEALED)
        self._tried[layers.SECCOMP] = _reaches_out()

    def _filter(self, denied: tuple[str, ...]) -> None:
        try:
            kernel.install_filter(self._machine, program(self._machine, denied))
        except (OSError, ValueError) as error:
            self._step(layers.SECCOMP, error)

    def layers(self, inherited: str) -> list[Layer]:
        """Every layer but the interpreter. `inherited`: what the child should not have got."""
        tried = {
            **self._tried,
            layers.PROCESS: inherited,
            layers.NO_NEW_PRIVS: "" if kernel.has_no_new_privileges() else "it is not set",
            layers.RLIMITS: self._unlimited(),
        }
        return [
            self._layer(name, tried.get(name, "it was not tried"))
            for name in layers.LAYERS
            if name != layers.INTERPRETER
        ]

    def _layer(self, name: str, wrong: str) -> Layer:
        if not wrong:
            return Layer(name, True, "tried, and refused")
        return Layer(name, False, ": ".join(filter(None, (wrong, self._failed.get(name)))))

    def _unlimited(self) -> str:
        for kind, value in (self._bounds | self._processes).items():
            if resource.getrlimit(kind) != (value, value):
                return f"limit {kind} is {resource.getrlimit(kind)}"
        return ""


def _opens(*paths: str) -> str:
    for path in paths:
        try:
            os.close(os.open(path, os.O_RDONLY))
        except OSError:
            continue
        return f"{path} could be opened"
    return ""


def _reaches_out() -> str:
    """Try what the filter forbids; "" when all of it was refused."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM):
            return "a socket could be made"
    except PermissionError:
        pass
    try:
        child = os.fork()
    except PermissionError:
        pass
    else:
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        return "a process could be forked"
    try:
        os.execv("/nonexistent", ["nonexistent"])  # noqa: S606 - it is to be refused
    except PermissionError:
        return ""
    except OSError:
        return "a program could be started"

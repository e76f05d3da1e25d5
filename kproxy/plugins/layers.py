"""What stands between foreign code and the host, by name; what a child found in, a verdict out.

A layer counts only where the child has tried it and was refused (`kproxy/plugins/inmate.py`), never
because it was asked for.
"""

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["ALWAYS", "LAYERS", "Layer", "lacking"]

INTERPRETER = "interpreter"
PROCESS = "process"
RLIMITS = "rlimits"
NO_NEW_PRIVS = "no-new-privs"
UNPRIVILEGED = "unprivileged"
SECCOMP = "seccomp"
LANDLOCK = "landlock"
NAMESPACES = "namespaces"
BUBBLEWRAP = "bubblewrap"

LAYERS = {
    INTERPRETER: "code runs in an interpreter that knows no host (Monty, or WASI's Python)",
    PROCESS: "a child of its own, without environment and without foreign descriptors",
    RLIMITS: "memory, CPU, descriptors, file size and cores are limited by the kernel",
    NO_NEW_PRIVS: "no program that it starts gains a right",
    UNPRIVILEGED: "not root, and without capabilities",
    SECCOMP: "system calls that reach out are refused: sockets, processes, mounts, files",
    LANDLOCK: "no file of the host can be opened, but for the libraries of the interpreter",
    NAMESPACES: "a network and users of its own",
    BUBBLEWRAP: "a file tree and processes of its own, by bubblewrap",
}

# What every Linux since 3.17 gives to everybody, containers included; the rest depends on how the
# machine is set up, so an operator names it in `require`.
ALWAYS = (INTERPRETER, PROCESS, RLIMITS, NO_NEW_PRIVS, SECCOMP)


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer as it was found: `why` says what was tried, or what it lacks."""

    name: str
    holds: bool
    why: str


def lacking(found: Iterable[Layer], required: Iterable[str]) -> tuple[Layer, ...]:
    """The required layers that do not hold, in the order of `required`; one not found is one."""
    by_name = {layer.name: layer for layer in found}
    asked = (by_name.get(name, Layer(name, False, "it was not tried")) for name in required)
    return tuple(layer for layer in asked if not layer.holds)

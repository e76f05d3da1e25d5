"""The few kernel calls that Python does not have, by ctypes: prctl, unshare, capset, landlock,
seccomp. Arguments in, OSError out.

Linux alone, and used by the child alone: loading this file loads libc a second time by name, which
the proxy itself never needs.
"""

import ctypes
import errno
import os
import struct

__all__ = [
    "CLONE_NAMESPACES",
    "CLONE_NEWUSER",
    "abandon_capabilities",
    "forbid_new_privileges",
    "has_no_new_privileges",
    "install_filter",
    "landlock_version",
    "restrict_files",
    "set_dumpable",
    "unshare",
]

_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS, _PR_GET_NO_NEW_PRIVS = 4, 38, 39
CLONE_NEWUSER = 0x10000000
# Mounts, cgroups, host name, System V IPC, network. Not processes: who has unshared those can make
# no more threads.
CLONE_NAMESPACES = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x40000000

_SECCOMP = {"x86_64": 317, "aarch64": 277}
_CAPSET = {"x86_64": 126, "aarch64": 91}
_SET_MODE_FILTER, _TSYNC = 1, 1
_CAPABILITY_VERSION_3 = 0x20080522

# Landlock has the same numbers everywhere.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION, _PATH_BENEATH = 1, 1
_EXECUTE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 2, 1 << 3
# How many rights over files each version of it knows: refer, truncate and ioctl came later.
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _prctl(option: int, value: int = 0) -> int:
    long = ctypes.c_ulong
    return _checked(_libc().prctl(option, long(value), long(0), long(0), long(0)))


def _syscall(number: int, *arguments: object) -> int:
    return _checked(_libc().syscall(ctypes.c_long(number), *arguments))


def forbid_new_privileges() -> None:
    """PR_SET_NO_NEW_PRIVS (prctl(2)): for this process and all that come of it, for ever."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def has_no_new_privileges() -> bool:
    """Whether the kernel says so."""
    return _prctl(_PR_GET_NO_NEW_PRIVS) == 1


def set_dumpable(*, dumpable: bool) -> None:
    """Whether others of this user may read the memory, and this process its own /proc entries."""
    _prctl(_PR_SET_DUMPABLE, int(dumpable))


def unshare(flags: int) -> None:
    """unshare(2). A user namespace needs a process of one thread."""
    _checked(_libc().unshare(ctypes.c_int(flags)))


def abandon_capabilities(machine: str) -> None:
    """Empty all three sets of the calling thread (capset(2))."""
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    _syscall(_number(_CAPSET, machine), header, bytes(24))


def install_filter(machine: str, instructions: bytes) -> None:
    """A seccomp program for every thread of the process (seccomp(2), TSYNC)."""
    program = _Program(len(instructions) // 8, instructions)
    arguments = ctypes.c_uint(_SET_MODE_FILTER), ctypes.c_uint(_TSYNC), ctypes.byref(program)
    if _syscall(_number(_SECCOMP, machine), *arguments):
        raise OSError(errno.ESRCH, "a thread could not be brought under the filter")


def landlock_version() -> int:
    """Raises OSError where the kernel has none, or has it switched off."""
    return _syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(_VERSION))


def restrict_files(readable: tuple[str, ...]) -> None:
    """Landlock for the calling thread: nothing but to read and execute in `readable`.

    Where the kernel knows them, TCP, foreign abstract sockets and signals to processes outside are
    refused as well. Paths that do not exist are passed over.
    """
    version = landlock_version()
    files = (1 << _FILE_RIGHTS.get(version, 16)) - 1
    net = 0b11 if version >= 4 else 0
    scoped = 0b11 if version >= 6 else 0
    attributes = struct.pack("=QQQ", files, net, scoped)
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = _syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(size), ctypes.c_uint(0))
    try:
        for path in readable:
            _allow(ruleset, path)
        _syscall(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint(0))
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        rights = _EXECUTE | _READ_FILE | (_READ_DIR if os.path.isdir(path) else 0)
        rule = struct.pack("=Qi", rights, place)
        _syscall(
            _ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_PATH_BENEATH), rule, ctypes.c_uint(0)
        )
    finally:
        os.close(place)


def _number(table: dict[str, int], machine: str) -> int:
    if machine not in table:
        raise OSError(errno.ENOSYS, f"no table of system calls for {machine}")
    return table[machine]

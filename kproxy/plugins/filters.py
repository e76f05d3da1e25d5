"""Names of system calls in, a seccomp program (classic BPF, seccomp(2)) as bytes out.

1. A deny list, not an allow list: the interpreters are other people's programs, and a new release
   that asks for a harmless new call must not die of it. Denied is whatever reaches out of the
   process: networks, other processes, file names, mounts, keys, clocks, and the kernel's larger
   surfaces (bpf, io_uring, perf, userfaultfd).
2. Two programs. STARTING still lets a worker be started and its libraries be read, and is what a
   Monty worker keeps; SEALED also denies `execve`, every clone but a thread, and every way to open
   a file by name.
3. A denied call fails with EPERM, so that a program can go on. `clone3` fails with ENOSYS: its
   flags cannot be seen from here, and libraries then fall back to `clone`. Calls of another
   architecture kill the process.

Numbers: the kernel's unistd tables; a test compares them where its headers are installed.
"""

import struct
from collections.abc import Iterable

__all__ = ["NUMBERS", "SEALED", "STARTING", "program"]

# name: (x86_64, aarch64); None: the architecture has no such call.
NUMBERS: dict[str, tuple[int | None, int | None]] = {
    # networks
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "kcmp": (312, 272),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "tkill": (200, 130),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "setsid": (112, 157),
    "setpgid": (109, 154),
    # another identity
    "setuid": (105, 146),
    "setgid": (106, 144),
    "setreuid": (113, 145),
    "setregid": (114, 143),
    "setresuid": (117, 147),
    "setresgid": (119, 149),
    "setgroups": (116, 159),
    "setfsuid": (122, 151),
    "setfsgid": (123, 152),
    "capset": (126, 91),
    "personality": (135, 92),
    "unshare": (272, 97),
    "setns": (308, 268),
    # mounts
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "quotactl": (179, 60),
    # changes to files
    "truncate": (76, 45),
    "mkdir": (83, None),
    "mkdirat": (258, 34),
    "rmdir": (84, None),
    "unlink": (87, None),
    "unlinkat": (263, 35),
    "rename": (82, None),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "link": (86, None),
    "linkat": (265, 37),
    "symlink": (88, None),
    "symlinkat": (266, 36),
    "mknod": (133, None),
    "mknodat": (259, 33),
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    # the kernel's larger surfaces
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "userfaultfd": (323, 282),
    "vmsplice": (278, 75),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "fanotify_init": (300, 262),
    "inotify_init": (253, None),
    "inotify_init1": (294, 26),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "mq_open": (240, 180),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "modify_ldt": (154, None),
    "iopl": (172, None),
    "ioperm": (173, None),
    # the machine
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "syslog": (103, 116),
    "acct": (163, 89),
    "reboot": (169, 142),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    # what SEALED adds, and what depends on an argument
    "execve": (59, 221),
    "execveat": (322, 281),
    "fork": (57, None),
    "vfork": (58, None),
    "open": (2, None),
    "creat": (85, None),
    "openat": (257, 56),
    "openat2": (437, 437),
    "clone": (56, 220),
    "clone3": (435, 435),
    "kill": (62, 129),
    "prlimit64": (302, 261),
}

_SEALED_ONLY = (
    "socketpair",  # the threads of a worker's owner are woken through one
    "execve",
    "execveat",
    "fork",
    "vfork",
    "open",
    "creat",
    "openat",
    "openat2",
)
_BY_ARGUMENT = ("clone", "clone3", "kill", "prlimit64")
STARTING = tuple(name for name in NUMBERS if name not in (*_SEALED_ONLY, *_BY_ARGUMENT))
SEALED = (*STARTING, *_SEALED_ONLY, "clone")

_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # AUDIT_ARCH_*
_LOAD, _EQUAL, _ANY_BIT, _AT_LEAST, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
_NUMBER_AT, _ARCH_AT, _ARGUMENT_AT = 0, 4, 16  # struct seccomp_data
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_CLONE_THREAD = 0x00010000
_X32 = 0x40000000

Instruction = tuple[int, int, int, int]


def program(machine: str, denied: Iterable[str]) -> bytes:
    """The filter for `platform.machine()`. Raises ValueError for a machine it does not know.

    Whatever is denied, `kill` reaches only the caller's own process group and `prlimit64` only the
    caller, and `clone3` is unknown. Naming `clone` denies it to all but threads.
    """
    if machine not in _MACHINES:
        raise ValueError(f"no table of system calls for {machine}")
    column, arch = _MACHINES[machine]
    code: list[Instruction] = [
        (_LOAD, 0, 0, _ARCH_AT),
        (_EQUAL, 1, 0, arch),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _ERRNO | _EPERM),
    ]
    numbers = {name: NUMBERS[name][column] for name in NUMBERS}
    for name in denied:
        number = numbers[name]
        if number is not None and name not in _BY_ARGUMENT:
            code += _refuse(number, _EPERM)
    code += _refuse(_there(numbers["clone3"]), _ENOSYS)
    if "clone" in denied:
        code += _unless(_there(numbers["clone"]), _ANY_BIT, _CLONE_THREAD)
    code += _unless(_there(numbers["kill"]), _EQUAL, 0)
    code += _unless(_there(numbers["prlimit64"]), _EQUAL, 0)
    code.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def _there(number: int | None) -> int:
    assert number is not None, "every architecture has it"
    return number


def _refuse(number: int, errno: int) -> list[Instruction]:
    return [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO | errno)]


def _unless(number: int, test: int, value: int) -> list[Instruction]:
    """Refused unless the low half of the first argument passes the test."""
    return [
        (_EQUAL, 0, 4, number),
        (_LOAD, 0, 0, _ARGUMENT_AT),
        (test, 1, 0, value),
        (_RETURN, 0, 0, _ERRNO | _EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]

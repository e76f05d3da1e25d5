"""Which folders the child needs in, the command line that puts it behind bubblewrap out.

bubblewrap (bwrap(1)) gives the child a file tree that holds these folders alone, read-only, and
processes, network and users of its own. It is used where it is installed and where this machine
lets it work; `program` finds it. No `--die-with-parent`: it watches the thread that started the
child, and threads come and go; no `--new-session`: the child already has one, and its process
group is how it is ended.
"""

import os
import shutil
from collections.abc import Iterable

__all__ = ["program", "wrap"]

# The dynamic loader and the C library, wherever a distribution keeps them.
_SYSTEM = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/etc/ld.so.cache")


def program() -> str | None:
    """The path of bubblewrap, None where it is not installed."""
    return shutil.which("bwrap", path=os.environ.get("PATH", os.defpath))


def wrap(bwrap: str, folders: Iterable[str], command: Iterable[str], *, root: bool) -> list[str]:
    """The command inside. `root`: kproxy runs as root, so that the child can still become nobody.

    Otherwise users are a namespace of their own, without which nobody else may make the others.
    """
    line = [bwrap, "--unshare-ipc", "--unshare-net", "--unshare-pid", "--unshare-uts"]
    line += ["--unshare-cgroup-try", "--clearenv", "--cap-drop", "ALL"]
    if root:
        line += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        line += ["--unshare-user"]
    for folder in dict.fromkeys((*_SYSTEM, *folders)):
        line += ["--ro-bind-try", folder, folder]
    return [*line, "--proc", "/proc", "--dev", "/dev", "--chdir", "/", "--", *command]

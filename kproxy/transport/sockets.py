"""Listening sockets that are not TCP of our own: unix sockets by path, and those of systemd.

A unix socket's file outlives whoever listened on it. One that nobody listens on is replaced; one in
use is an address in use. Sockets passed on by a service manager (sd_listen_fds(3)) are already
bound and listening, and stay open in it while kproxy restarts.
"""

import errno
import os
import socket
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from kproxy.transport.accept import BACKLOG

__all__ = ["PATH_LIMIT", "Inherited", "open_unix"]

PATH_LIMIT = 107
"""Bytes of a unix socket's path (unix(7): 108 with the zero behind it)."""

FIRST = 3
"""The descriptor that systemd's sockets begin with."""


class UnixSocket:
    """A listening unix socket and its file, which goes with `remove` if it is still this one's."""

    def __init__(self, path: Path, listener: socket.socket) -> None:
        self.socket = listener
        self._path = path
        self._file = _identity(path)

    def remove(self) -> None:
        """Close the socket and take its file away, unless somebody else has put another there."""
        self.socket.close()
        with suppress(OSError):
            if _identity(self._path) == self._file:
                self._path.unlink()


def open_unix(path: Path, mode: int) -> UnixSocket:
    """Listen at `path`, whose file has the permissions `mode` from the first moment on.

    Raises OSError: EADDRINUSE where somebody listens there, EEXIST where it is no socket. Changes
    the process's umask for that moment, so it must not run beside other threads.
    """
    _make_room(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o777 & ~mode)
    try:
        listener.bind(str(path))
        listener.listen(BACKLOG)
        listener.setblocking(False)
        return UnixSocket(path, listener)
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(before)


def _make_room(path: Path) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise FileExistsError(errno.EEXIST, "there is a file there that is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        if probe.connect_ex(str(path)) != errno.ECONNREFUSED:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    path.unlink(missing_ok=True)


def _identity(path: Path) -> tuple[int, int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino, found.st_mtime_ns  # an inode's number is given out again


class Inherited:
    """The sockets that a service manager has passed to this process; each is taken once.

    `environ` and `pid` say which they are: LISTEN_PID must be ours, LISTEN_FDS counts them,
    LISTEN_FDNAMES names them.
    """

    def __init__(self, environ: Mapping[str, str], pid: int) -> None:
        self._left: dict[int, str] = {}  # by descriptor, its name
        if environ.get("LISTEN_PID") != str(pid):
            return
        count = environ.get("LISTEN_FDS", "")
        names = environ.get("LISTEN_FDNAMES", "").split(":")
        for at in range(int(count) if count.isdecimal() and len(count) < 5 else 0):
            self._left[FIRST + at] = names[at] if at < len(names) else ""

    def take(self, name: str = "") -> list[socket.socket]:
        """Those of this name (empty: all that are left), listening and owned by the caller.

        Raises OSError where there is none, or one that is no listening stream.
        """
        wanted = [fd for fd, its in self._left.items() if name in ("", its)]
        if not wanted:
            what = f"no socket named {name}" if name else "no socket"
            raise OSError(errno.ENOENT, f"systemd has passed {what} to this process")
        return [self._open(fd) for fd in wanted]

    def _open(self, fd: int) -> socket.socket:
        try:
            listener = socket.socket(fileno=fd)
        except OSError as error:
            raise OSError(error.errno, f"descriptor {fd}: {error.strerror}") from error
        del self._left[fd]
        if not (
            listener.type == socket.SOCK_STREAM
            and listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        ):
            listener.close()
            raise OSError(errno.EINVAL, f"descriptor {fd} is no listening stream socket")
        listener.set_inheritable(False)
        listener.setblocking(False)
        return listener

    @property
    def left(self) -> tuple[str, ...]:
        """Names of the sockets that nobody has taken."""
        return tuple(self._left.values())

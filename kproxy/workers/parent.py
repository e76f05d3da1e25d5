"""Several processes on the same listeners: a configuration in, served until signals end it.

The parent opens the listeners, loads what all need, and forks, before there is any thread, event
loop or database connection; so pages are shared and nothing is copied that a fork would break. From
then on it waits: for signals, for what workers say, and for their ends. What follows from them is
decided in `policy.py`. It answers no request, and it opens nothing in the data directory.

Every worker accepts from the same listening sockets. One that dies takes only the connections with
it that it had: those that wait to be accepted are taken by the others.
"""

import gc
import logging
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType

import msgspec

from kproxy.app import Started
from kproxy.config import Config
from kproxy.config.change import settle
from kproxy.errors import KproxyError
from kproxy.opening import CannotStart, Opened, open_all
from kproxy.store.board import Board
from kproxy.workers import policy
from kproxy.workers.child import SIGNALS, Message, Unable, Up, be_worker, code

__all__ = ["BadEnd", "Parent", "serve_by_many", "waking"]

MESSAGE = 4_194_304
"""Bytes of a worker's message: the names of all models are in it."""

PIECE = 65_536

log = logging.getLogger("kproxy.workers")


class BadEnd(KproxyError):
    """A worker did not end in order."""


@dataclass(slots=True)
class Child:
    """A process that was forked, and our end of its line."""

    place: int
    pid: int
    line: socket.socket
    said: bytearray = field(default_factory=bytearray)


def serve_by_many(
    config: Config,
    announce: Callable[[Started], None],
    reread: Callable[[], Config] | None = None,
) -> None:
    """Serve with `config.workers` processes until SIGTERM or SIGINT and the drain that follows.

    A second signal ends it now. Raises CannotStart where the listeners cannot be had or no worker
    starts, BadEnd where one fails or is killed while it drains. `announce` is called once, when all
    of them answer. SIGHUP has the configuration read anew by `reread`, here for workers that begin
    later, and by each worker for itself.
    """
    with ExitStack() as stack:
        opened = open_all(stack, config)
        with waking() as signals:
            Parent(config, opened, announce, reread).run(signals)


@contextmanager
def waking() -> Iterator[socket.socket]:
    """A socket that signals write their numbers to, while this is entered; see `Parent.run`."""
    reader, writer = socket.socketpair()
    numbers = (*SIGNALS, signal.SIGCHLD)
    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        before = {number: signal.signal(number, _noted) for number in numbers}
        former = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield reader
        finally:
            signal.set_wakeup_fd(former)
            for number, handler in before.items():
                signal.signal(number, handler)


def _noted(number: int, frame: FrameType | None) -> None:
    pass


class Parent:
    """See the module. `run` is called once, in the main thread."""

    def __init__(
        self,
        config: Config,
        opened: Opened,
        announce: Callable[[Started], None],
        reread: Callable[[], Config] | None = None,
    ) -> None:
        self._config = config
        self._opened = opened
        self._announce = announce
        self._reread = reread
        self._board = Board(config.workers)
        self._params = policy.Params(drain=config.drain_timeout)
        self._crew = policy.begin(config.workers, time.monotonic())
        self._children: dict[int, Child] = {}  # by place
        self._select = selectors.DefaultSelector()
        self._started: Started | None = None
        self._trouble: str | None = None  # once it is over; empty: a good end

    def run(self, signals: socket.socket) -> None:
        """Until the last worker has ended. Raises as `serve_by_many` does."""
        gc.collect()
        gc.freeze()  # a collection would write to pages that are shared
        ready = False
        with self._select:
            self._select.register(signals, selectors.EVENT_READ)
            try:
                self._take(policy.Tick())
                while self._trouble is None:
                    for event in self._wait(signals):
                        self._take(event)
                    ready = ready or self._crew.phase is policy.Phase.SERVING
            finally:
                for child in self._children.values():  # none but where we have failed ourselves
                    os.kill(child.pid, signal.SIGKILL)
        if self._trouble:
            raise (BadEnd if ready else CannotStart)(self._trouble)

    def _wait(self, signals: socket.socket) -> Iterator[policy.Event]:
        """What has happened, at most until something is due."""
        left = policy.due_at(self._crew) - time.monotonic()
        ready = self._select.select(min(max(left, 0.0), 3_600.0))
        for key, _ in ready:
            if isinstance(key.data, Child):
                yield from self._hear(key.data)
        if any(key.fileobj is signals for key, _ in ready):
            for number in signals.recv(PIECE):
                if number in (signal.SIGTERM, signal.SIGINT):
                    yield policy.Asked()
                elif number == signal.SIGHUP:
                    self._renew()
                    yield policy.Renew()
            yield from self._reap()
        yield policy.Tick()

    def _renew(self) -> None:
        """What is wrong with the configuration is for the workers to say, who look at it, too."""
        if self._reread is None:
            return
        with suppress(KproxyError):
            self._config, _ = settle(self._config, self._reread())
            self._params = policy.Params(drain=self._config.drain_timeout)

    def _take(self, event: policy.Event) -> None:
        self._crew, todo = policy.step(self._crew, event, time.monotonic(), self._params)
        for do in todo:
            self._do(do)

    def _do(self, do: policy.Do) -> None:
        match do:
            case policy.Fork(place):
                self._fork(place)
            case policy.Tell(place, order):
                with suppress(KeyError, OSError):  # it is gone: that is the next event
                    self._children[place].line.send(code(order))
            case policy.Kill(place):
                with suppress(KeyError):
                    os.kill(self._children[place].pid, signal.SIGKILL)
            case policy.Close():
                for bound in self._opened.public:
                    bound.socket.close()
            case policy.Announce():
                assert self._started is not None
                self._announce(self._started)
            case policy.Say(text):
                log.error("%s", text)
            case policy.Leave(trouble):
                self._trouble = trouble

    def _fork(self, place: int) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        # Between the fork and its own handlers the child would tell us of its signals as ours.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        pid = os.fork()
        if pid == 0:
            self._become_worker(place, ours, theirs)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        theirs.close()
        child = self._children[place] = Child(place, pid, ours)
        self._select.register(ours, selectors.EVENT_READ, child)

    def _become_worker(self, place: int, ours: socket.socket, theirs: socket.socket) -> None:
        """The child's way. It never returns: what the parent has to put away is not the child's."""
        status = 1
        try:
            self._select.close()
            ours.close()
            for other in self._children.values():  # or they would not see the parent's end
                other.line.close()
            status = be_worker(
                self._config, self._opened, self._board.place(place), theirs, self._reread
            )
            logging.shutdown()
        except Exception:
            log.exception("worker %d has failed", place + 1)
        finally:
            os._exit(status)

    def _hear(self, child: Child) -> Iterator[policy.Event]:
        """What a worker says. The end of its line is not its own end: SIGCHLD tells that."""
        try:
            data = child.line.recv(PIECE)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        child.said += data
        if not data or len(child.said) > MESSAGE:
            self._unwatch(child)
        if child.said.endswith(b"\n"):
            message = msgspec.json.decode(child.said, type=Message)
            child.said.clear()
            yield self._understand(child, message)

    def _unwatch(self, child: Child) -> None:
        with suppress(KeyError):  # the end of its line was seen before
            self._select.unregister(child.line)

    def _understand(self, child: Child, message: Message) -> policy.Event:
        match message:
            case Unable(why):
                return policy.Refused(child.place, why)
            case Up(started):
                self._board.occupy(child.place)
                if self._started is None or started.first_key is not None:
                    self._started = started
                return policy.Ready(child.place)

    def _reap(self) -> Iterator[policy.Event]:
        for child in list(self._children.values()):
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid == 0:
                continue
            last_words = list(self._hear(child))
            self._unwatch(child)
            child.line.close()
            del self._children[child.place]
            self._board.vacate(child.place)
            yield from last_words
            yield policy.Ended(child.place, _how(pid, status), status == 0)


def _how(pid: int, status: int) -> str:
    ended = os.waitstatus_to_exitcode(status)
    if ended < 0:
        return f"(process {pid}) was ended by {signal.Signals(-ended).name}"
    return f"(process {pid}) ended with status {ended}"

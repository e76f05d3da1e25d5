"""Real processes for whole stories: `kproxy serve` and `kproxy sim` on free ports.

In: arguments and a configuration. Out: where they answer, what they count, what they said on
standard error. Readiness is a printed line; every other wait is for a fact that can be asked for
(`until`). A server that says anything on standard error has failed its test, see `serving`.
"""

import json
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tests.fakes.caller import Caller, request

__all__ = [
    "FIRST_KEY", "PATIENCE", "Process", "Served", "Simulated", "provider_config", "served",
    "serving", "simulating", "until",
]  # fmt: skip

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 20.0
"""Seconds that a fact may take on a busy machine; a test that waits so long has failed."""

PAUSE = 0.01
MEANT = re.compile(r" ((WARNING|ERROR) kproxy\.(faults|tls|reload): |WARNING kproxy: draining)")
"""Provider faults, what became of a certificate or a configuration, and that it is draining."""

FIRST_KEY = re.compile(r"^first key, shown only once: (kr-\S+)$", re.MULTILINE)
SAMPLE = re.compile(r"^([a-z_]+(?:\{[^}]*\})?) (\S+)$", re.MULTILINE)

Fact = TypeVar("Fact")


def until(look: Callable[[], Fact], what: str = "") -> Fact:
    """The first true value of `look`. AssertionError with the last one after PATIENCE seconds."""
    patience = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < patience, f"never came: {what or look}; last: {found!r}"
        select = selectors.DefaultSelector()
        select.select(PAUSE)  # between two looks; nothing is decided by its length
        select.close()
    return found


class Process:
    """`python -m kproxy ...`, its printed lines, and what it writes to standard error.

    Nothing of this machine's environment reaches it but PATH; a warning of Python's is an error.
    `program`: what Python runs instead; `passing`: descriptors that it keeps.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        environ: dict[str, str] | None = None,
        program: tuple[str, str] = ("-m", "kproxy"),
        passing: tuple[int, ...] = (),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._errors = folder / "stderr"
        self._read = b""
        with self._errors.open("ab") as sink:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "error", *program, *arguments],
                cwd=ROOT,
                env={"PATH": os.environ["PATH"], "HOME": str(folder), **(environ or {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=sink,
                start_new_session=True,
                pass_fds=passing,
            )

    def __repr__(self) -> str:
        return f"<Process {self._process.pid} {self._process.args}>"

    @property
    def pid(self) -> int:
        """For /proc and signals."""
        return self._process.pid

    @property
    def errors(self) -> str:
        """Everything on standard error so far."""
        return self._errors.read_text(errors="replace")

    @property
    def complaints(self) -> str:
        """What is on standard error beside the lines that an operator is meant to see."""
        lines = self.errors.splitlines(keepends=True)
        return "".join(line for line in lines if not MEANT.search(line))

    def printed(self, through: str) -> str:
        """Standard output up to the end of the first line that contains `through`."""
        pipe = self._process.stdout
        assert pipe is not None
        patience = time.monotonic() + PATIENCE
        with selectors.DefaultSelector() as select:
            select.register(pipe, selectors.EVENT_READ)
            while (text := _through(self._read.decode(), through)) is None:
                left = patience - time.monotonic()
                more = os.read(pipe.fileno(), 65_536) if select.select(max(0, left)) else b""
                assert more, f"{through!r} was not printed: {self._read!r}\n{self.errors}"
                self._read += more
        return text

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Send a signal and do not wait."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """The exit status, once it has ended by itself or by a signal sent before."""
        return self._process.wait(PATIENCE)

    def stop(self) -> int:
        """SIGTERM and the exit status; what does not end is killed, and fails."""
        try:
            if self._process.poll() is None:
                self.signal()
            return self.wait()
        finally:
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()


def _through(text: str, wanted: str) -> str | None:
    place = text.find(wanted)
    end = text.find("\n", place)
    return None if place < 0 or end < 0 else text[: end + 1]


class Served:
    """A running `kproxy serve`: its process, address, first key, and what it counts."""

    def __init__(self, process: Process, said: str) -> None:
        self.process = process
        self.said = said
        self.simulated = "simulated models" in said
        first = re.search(r"http://([^:\s]+):(\d+)", said)
        assert first is not None
        self.address = (first[1], int(first[2]))
        self.url = f"http://{first[1]}:{first[2]}"
        self.listeners = said.partition("\n")[0].count(", ") + 1
        key = FIRST_KEY.search(said)
        self.key = "" if key is None else key[1]

    def caller(self) -> Caller:
        """A raw connection; the caller of this closes it."""
        return Caller(self.address, self.key)

    def refuses(self) -> bool:
        """Whether nothing listens there any more."""
        try:
            self.caller().close()
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:
            pass  # it was in the listener's queue when that was closed: the next one tells
        return False

    def metrics(self) -> dict[str, float]:
        """Every sample of /metrics."""
        with self.caller() as caller:
            answer = caller.get("/metrics")
        assert answer.status == 200
        return {name: float(value) for name, value in SAMPLE.findall(answer.body.decode())}

    def at_rest(self) -> bool:
        """No attempt holds a slot, and each socket is a listener's, a caller's, or a kept one."""
        now = self.metrics()
        kept = _upstream(now, "idle") + _upstream(now, "shared")
        leased = _upstream(now, "leased")
        # Simulated models in the same process: their listener, and the other ends.
        ends = 2 if self.simulated else 1
        wanted = self.listeners + ends - 1 + now["kproxy_connections"] + ends * kept
        return leased == 0 and now["kproxy_sockets"] == wanted


def _upstream(metrics: dict[str, float], state: str) -> float:
    family = "kproxy_upstream_connections"
    return sum(
        value
        for name, value in metrics.items()
        if name.startswith(family) and f'state="{state}"' in name
    )


def served(folder: Path, config: str = "", **environ: str) -> Served:
    """Start `kproxy serve` on a free port. The caller of this stops its process."""
    arguments = ["serve", "--listen", "127.0.0.1:0", "--data-dir", str(folder / "data")]
    if config:
        file = folder / "kproxy.toml"
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(config)
        arguments += ["--config", str(file)]
    process = Process(folder, *arguments, environ=environ)
    try:
        return Served(process, process.printed("curl -N"))
    except BaseException:
        process.stop()
        raise


@contextmanager
def serving(folder: Path, config: str = "", **environ: str) -> Iterator[Served]:
    """`served`, and at the end: nothing on standard error, no socket lost, exit status 0."""
    server = served(folder, config, **environ)
    try:
        yield server
        until(server.at_rest)
        status = server.process.stop()
    finally:
        server.process.stop()
    assert server.process.complaints == ""
    assert status == 0


class Simulated:
    """A running `kproxy sim`."""

    def __init__(self, process: Process, address: tuple[str, int]) -> None:
        self.process = process
        self.address = address
        self.base_url = f"http://{address[0]}:{address[1]}/v1"

    def ask(self, path: str) -> object:
        """The JSON at a path such as `/sim/stats`."""
        with Caller(self.address) as caller:
            return caller.get(path).json()

    def forget(self) -> None:
        """Forget what was counted, so that faults that count begin again."""
        with Caller(self.address) as caller:
            caller.send(request("DELETE", "/sim/stats"))
            assert caller.receive().status == 200

    def hangups(self) -> int:
        """How many callers have left in the middle of an answer."""
        found = self.ask("/sim/hangups")
        assert isinstance(found, list)
        return len(found)


@contextmanager
def simulating(folder: Path, *arguments: str) -> Iterator[Simulated]:
    """A `kproxy sim` on a free port; quick and without jitter unless `arguments` say otherwise."""
    quick = ("--first-token-ms", "2", "--token-ms", "0.5", "--jitter", "0", "--tokens", "12")
    process = Process(folder, "sim", "--listen", "127.0.0.1:0", "--json", *quick, *arguments)
    try:
        said = json.loads(process.printed("base_url"))
        yield Simulated(process, (said["host"], said["port"]))
        status = process.stop()
    finally:
        process.stop()
    assert process.complaints == ""
    assert status == 0


def provider_config(**base_urls: str) -> str:
    """A configuration of providers that speak OpenAI's API and take any model name."""
    return "".join(
        f'[providers.{slug}]\ndialect = "openai"\nbase_url = "{url}"\nmodels = "any"\n'
        for slug, url in base_urls.items()
    )

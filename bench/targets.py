"""Starts what bench/relay.py measures: simulated providers, nginx and kproxy in front of them.

In: a scratch directory and the wanted pacings. Out: running servers, and for each pacing the port
and the model name that a caller uses at each target. nginx is one worker process, kproxy as many as
asked for; plain HTTP on loopback but where a pacing wants TLS, no access log of nginx.
"""

import http.client
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.configs import (
    SIM_MODEL,
    Pacing,
    Place,
    Upstream,
    kproxy_command,
    nginx_command,
    sim_command,
)
from bench.processes import Server, free_ports
from bench.tls import Together, front_command, make_certificate

__all__ = ["Target", "get", "is_open", "open_sims", "open_targets", "time_starts"]


@dataclass(frozen=True, slots=True)
class Target:
    """One line of the comparison. `servers` is what is charged with CPU and memory: the proxy,
    or for the direct line the provider of that pacing."""

    name: str
    places: Mapping[str, Place]
    servers: Mapping[str, Server]
    headers: Sequence[str] = ()


def get(port: int, path: str) -> tuple[int, bytes]:
    """GET on loopback: status and body; (0, b"") while nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def is_open(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def open_sims(
    scratch: Path, pacings: Sequence[Pacing]
) -> Iterator[tuple[Mapping[str, Server], Mapping[str, Place]]]:
    """A simulated provider per pacing: the servers and their places. They are stopped at the end.

    Raises BenchError when one does not start.
    """
    with ExitStack() as stack:
        sims, places = {}, {}
        for pacing, port in zip(pacings, free_ports(len(pacings)), strict=True):
            command = sim_command(scratch, pacing, port)
            sims[pacing.name] = _start(stack, scratch, f"sim-{pacing.name}", command, port)
            places[pacing.name] = Place(port, SIM_MODEL)
        yield sims, places


@contextmanager
def open_targets(
    scratch: Path, pacings: Sequence[Pacing], names: Sequence[str], workers: int = 1
) -> Iterator[tuple[list[Target], Mapping[str, Server | Together], Mapping[str, Place]]]:
    """Targets by name, then the providers and their places by pacing. All are stopped at the end.

    The direct line has no place where the provider speaks TLS. Raises BenchError when a server
    does not start.
    """
    with ExitStack() as stack:
        sims, places = stack.enter_context(open_sims(scratch, pacings))
        upstreams = {name: Upstream(place.port) for name, place in places.items()}
        hidden = [pacing.name for pacing in pacings if pacing.tls]
        direct = {name: place for name, place in places.items() if name not in hidden}
        watched: dict[str, Server | Together] = {**sims}
        env = {}
        if hidden:
            made = make_certificate(scratch)
            env["SSL_CERT_FILE"] = str(made.ca)
            behind = {name: upstreams[name] for name in hidden}
            command, fronts = front_command(scratch, behind, made)
            front = Server("tls-front", command, scratch / "tls-front.log")
            stack.callback(front.stop)
            front.wait_ready(lambda: all(is_open(place.port) for place in fronts.values()))
            for name, place in fronts.items():
                upstreams[name] = Upstream(place.port, made.ca)
                watched[name] = Together([sims[name], front])
        targets = []
        if "direct" in names and direct:
            targets.append(Target("direct", direct, sims))
        if "nginx" in names:
            command, places = nginx_command(scratch, upstreams)
            server = _start(stack, scratch, "nginx", command, next(iter(places.values())).port)
            targets.append(Target("nginx", places, dict.fromkeys(upstreams, server)))
        if "kproxy" in names:
            (port,) = free_ports(1)
            command, key = kproxy_command(scratch, upstreams, port, workers)
            server = _start(stack, scratch, "kproxy", command, port, env)
            places = {name: Place(port, f"bench-{name}") for name in upstreams}
            servers = dict.fromkeys(upstreams, server)
            targets.append(Target("kproxy", places, servers, (f"Authorization: Bearer {key}",)))
        yield targets, watched, direct


def time_starts(scratch: Path, times: int) -> list[float]:
    """Seconds from starting `kproxy serve` to /readyz answering 200, each start measured alone."""
    taken = []
    for turn in range(times):
        (port,) = free_ports(1)
        directory = scratch / f"start-{turn}"
        directory.mkdir()
        command, _ = kproxy_command(directory, {"json": Upstream(9)}, port)
        server = Server("kproxy-start", command, directory / "log")
        try:
            taken.append(server.wait_ready(lambda port=port: get(port, "/readyz")[0] == 200))
        finally:
            server.stop()
    return taken


def _start(
    stack: ExitStack,
    scratch: Path,
    name: str,
    command: Sequence[str],
    port: int,
    env: Mapping[str, str] | None = None,
) -> Server:
    """Running and ready: it answers at all. `stack` stops it."""
    server = Server(name, command, scratch / f"{name}.log", env)
    stack.callback(server.stop)
    server.wait_ready(lambda: 200 <= get(port, "/readyz")[0] < 500)
    return server

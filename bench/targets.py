"""Starts what bench/relay.py measures: simulated providers, nginx and kproxy in front of them.

In: a scratch directory and the wanted pacings. Out: running servers, and for each pacing the port
and the model name that a caller uses at each target. nginx has one port per pacing, kproxy one
model per pacing. Both are one worker process, kproxy as many as asked for; plain HTTP on loopback,
no access log of nginx.
"""

import http.client
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.processes import BenchError, Server, free_ports

__all__ = ["Pacing", "Place", "Target", "get", "open_targets", "time_starts"]

SIM_MODEL = "sim-fast"


@dataclass(frozen=True, slots=True)
class Pacing:
    """How a simulated provider answers: milliseconds and tokens, exact."""

    name: str
    first_ms: int
    gap_ms: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a caller goes for one pacing at one target."""

    port: int
    model: str


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


@contextmanager
def open_targets(
    scratch: Path, pacings: Sequence[Pacing], names: Sequence[str], workers: int = 1
) -> Iterator[tuple[list[Target], Mapping[str, Server], Mapping[str, Place]]]:
    """Targets by name, then the providers and their places by pacing. All are stopped at the end.

    Raises BenchError when a server does not start.
    """
    with ExitStack() as stack:

        def start(name: str, command: Sequence[str], port: int, path: str) -> Server:
            server = Server(name, command, scratch / f"{name}.log")
            stack.callback(server.stop)
            server.wait_ready(lambda: 200 <= get(port, path)[0] < 500)
            return server

        sims: dict[str, Server] = {}
        listening = free_ports(len(pacings))
        ports = {one.name: port for one, port in zip(pacings, listening, strict=True)}
        for pacing in pacings:
            port = ports[pacing.name]
            command = _sim_command(scratch, pacing, port)
            sims[pacing.name] = start(f"sim-{pacing.name}", command, port, "/sim/hangups")
        direct = {name: Place(port, SIM_MODEL) for name, port in ports.items()}
        targets = []
        if "direct" in names:
            targets.append(Target("direct", direct, sims))
        if "nginx" in names:
            command, places = _nginx(scratch, ports)
            server = start("nginx", command, next(iter(places.values())).port, "/readyz")
            targets.append(Target("nginx", places, dict.fromkeys(ports, server)))
        if "kproxy" in names:
            (port,) = free_ports(1)
            command, key = _kproxy(scratch, ports, port, workers)
            server = start("kproxy", command, port, "/readyz")
            places = {name: Place(port, f"bench-{name}") for name in ports}
            servers = dict.fromkeys(ports, server)
            targets.append(Target("kproxy", places, servers, (f"Authorization: Bearer {key}",)))
        yield targets, sims, direct


def time_starts(scratch: Path, times: int) -> list[float]:
    """Seconds from starting `kproxy serve` to /readyz answering 200, each start measured alone."""
    taken = []
    for turn in range(times):
        (port,) = free_ports(1)
        directory = scratch / f"start-{turn}"
        directory.mkdir()
        command, _ = _kproxy(directory, {"json": 9}, port)
        server = Server("kproxy-start", command, directory / "log")
        try:
            taken.append(server.wait_ready(lambda port=port: get(port, "/readyz")[0] == 200))
        finally:
            server.stop()
    return taken


def _sim_command(scratch: Path, pacing: Pacing, port: int) -> list[str]:
    config = scratch / f"sim-{pacing.name}.toml"
    config.write_text(
        f"""[sim]
seed = 1
jitter = 0.0
first_token_ms = {pacing.first_ms}
token_ms = {pacing.gap_ms}
tokens = "{pacing.tokens}"
"""
    )
    listen = ["--listen", f"127.0.0.1:{port}"]
    return [sys.executable, "-m", "kproxy", "sim", *listen, "--config", str(config)]


def _nginx(scratch: Path, ports: Mapping[str, int]) -> tuple[list[str], dict[str, Place]]:
    """One server block per pacing. Kept connections on both sides, or each request would pay for
    a connect that kproxy does not pay."""
    program = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if program is None:
        raise BenchError("nginx is not installed (Debian: apt-get install nginx-light)")
    own = free_ports(len(ports))
    blocks = [
        f"""
    upstream {name} {{
        server 127.0.0.1:{port};
        keepalive 2048;
        keepalive_requests 100000000;
    }}
    server {{
        listen 127.0.0.1:{mine} backlog=4096;
        location / {{ proxy_pass http://{name}; }}
    }}"""
        for (name, port), mine in zip(ports.items(), own, strict=True)
    ]
    temporary = "\n".join(
        f"    {kind}_temp_path {scratch}/nginx-{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = scratch / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""  # the scratch directory is ours alone
    config.write_text(
        f"""{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile 16384;
pid {scratch}/nginx.pid;
error_log {scratch}/nginx-error.log error;
events {{ worker_connections 8192; }}
http {{
{temporary}
    access_log off;
    tcp_nodelay on;
    keepalive_timeout 300s;
    keepalive_requests 100000000;
    client_max_body_size 32m;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_buffering off;
    proxy_read_timeout 300s;
{"".join(blocks)}
}}
"""
    )
    log = str(scratch / "nginx-error.log")
    command = [program, "-e", log, "-p", str(scratch), "-c", str(config)]
    return command, {name: Place(port, SIM_MODEL) for name, port in zip(ports, own, strict=True)}


def _kproxy(
    scratch: Path, ports: Mapping[str, int], port: int, workers: int = 1
) -> tuple[list[str], str]:
    """The command line of a configured kproxy with an account without limits, and its key."""
    config, data = scratch / "kproxy.toml", scratch / "kproxy-data"
    lines = [
        f'listen = ["127.0.0.1:{port}"]',
        f"workers = {workers}",
        "drain_timeout = 1",  # what still runs when we stop it is of no interest
        "[limits]",
        "connections_per_address = 10000",  # the load client has one address
    ]
    for name, upstream in ports.items():
        lines += [
            f"[providers.sim{name}]",
            'dialect = "openai"',
            f'base_url = "http://127.0.0.1:{upstream}/v1"',
            'api_key = "bench"',
        ]
    for name in ports:
        lines += [
            "[[models]]",
            f'id = "bench-{name}"',
            f'provider = "sim{name}"',
            f'upstream = "{SIM_MODEL}"',
            "price = { input = 2.00, output = 8.00 }",
        ]
    config.write_text("\n".join(lines) + "\n")
    kproxy = [sys.executable, "-m", "kproxy"]
    wanted = ["keys", "create", "--account", "bench", "--tier", "unlimited", "--json"]
    made = subprocess.run(
        [*kproxy, *wanted, "--data-dir", str(data)], capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        raise BenchError(f"kproxy keys create ended with {made.returncode}\n{made.stderr}")
    key = json.loads(made.stdout)["key"]
    return [*kproxy, "serve", "--config", str(config), "--data-dir", str(data)], key

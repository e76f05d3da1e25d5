"""Writes what a bench starts its servers with: simulated providers, nginx and kproxy.

In: a scratch directory, and what stands behind a proxy by name of the pacing. Out: command lines,
and for each pacing where a caller goes. nginx has one port per pacing, kproxy one model per pacing.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.processes import BenchError, free_ports

__all__ = [
    "SIM_MODEL",
    "Pacing",
    "Place",
    "Upstream",
    "kproxy_command",
    "nginx_command",
    "nginx_program",
    "sim_command",
]

SIM_MODEL = "sim-fast"
KPROXY = (sys.executable, "-m", "kproxy")
AUTO = (  # what `auto` chooses from; the catalog knows their qualities
    ("gpt-4.1", 2.00, 8.00),
    ("claude-sonnet-4-20250514", 3.00, 15.00),
    ("grok-4.1-fast", 0.20, 0.50),
    ("deepseek-chat", 0.28, 0.42),
    ("minimax-m2.5", 0.30, 1.20),
)
TIER = (  # limits that are kept count of and never met: without any there would be less to do
    "[tiers.business]",
    "requests_per_minute = 10_000_000",
    "burst = 10_000_000",
    f"tokens_per_month = {1 << 50}",
)


@dataclass(frozen=True, slots=True)
class Pacing:
    """How a simulated provider answers: milliseconds and tokens, exact. `tls`: it stands behind
    something that speaks TLS."""

    name: str
    first_ms: int
    gap_ms: int
    tokens: int
    tls: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where a caller goes for one pacing at one target, and what it says there beside the key."""

    port: int
    model: str
    headers: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Upstream:
    """What a proxy sends to. `ca`: it speaks TLS, and this file vouches for `localhost`."""

    port: int
    ca: Path | None = None

    @property
    def url(self) -> str:
        """Without a path."""
        scheme, host = ("https", "localhost") if self.ca else ("http", "127.0.0.1")
        return f"{scheme}://{host}:{self.port}"


def sim_command(scratch: Path, pacing: Pacing, port: int) -> list[str]:
    """`kproxy sim` with that pacing."""
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
    return [*KPROXY, "sim", "--listen", f"127.0.0.1:{port}", "--config", str(config)]


def nginx_program() -> str:
    """The path of nginx, which may stand where only root looks. Raises BenchError."""
    program = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if program is None:
        raise BenchError("nginx is not installed (Debian: apt-get install nginx-light)")
    return program


def nginx_command(
    scratch: Path, upstreams: Mapping[str, Upstream], key: str = "", listen: str = ""
) -> tuple[list[str], dict[str, Place]]:
    """One server block per pacing; with a key, others are answered 401. `listen`: how, beyond the
    address, and directives that belong to it.

    Kept connections on both sides, or each request would pay for a connect that kproxy does not
    pay. A TLS upstream is verified, as kproxy verifies its own.
    """
    program = nginx_program()
    own = free_ports(len(upstreams))
    blocks = [
        _nginx_block(name, upstream, f"{port} backlog=4096 {listen}", bool(key))
        for (name, upstream), port in zip(upstreams.items(), own, strict=True)
    ]
    known = f"map $http_authorization $known {{ default 0; 'Bearer {key}' 1; }}" if key else ""
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
    {known}
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
    places = {name: Place(port, SIM_MODEL) for name, port in zip(upstreams, own, strict=True)}
    return command, places


def _nginx_block(name: str, upstream: Upstream, listen: str, guarded: bool) -> str:
    check = "if ($known = 0) { return 401; }" if guarded else ""
    scheme, trust = "http", ""
    if upstream.ca is not None:
        scheme = "https"
        trust = f"""
        proxy_ssl_trusted_certificate {upstream.ca};
        proxy_ssl_verify on;
        proxy_ssl_name localhost;
        proxy_ssl_server_name on;
        proxy_ssl_protocols TLSv1.2 TLSv1.3;"""
    return f"""
    upstream {name} {{
        server 127.0.0.1:{upstream.port};
        keepalive 2048;
        keepalive_requests 100000000;
    }}
    server {{
        listen 127.0.0.1:{listen};{trust}
        location / {{ {check} proxy_pass {scheme}://{name}; }}
    }}"""


def kproxy_command(
    scratch: Path,
    upstreams: Mapping[str, Upstream],
    port: int,
    workers: int = 1,
    auto: bool = False,
    more: Sequence[str] = (),
) -> tuple[list[str], str]:
    """The command line of a configured kproxy, and a key whose account has limits (`TIER`).

    A pacing's model is called `bench-NAME`. With `auto` there are the rows of `AUTO` instead, all
    of the one upstream. `more`: lines for the end of the configuration.
    """
    config, data = scratch / "kproxy.toml", scratch / "kproxy-data"
    lines = [
        f'listen = ["127.0.0.1:{port}"]',
        f"workers = {workers}",
        "drain_timeout = 1",  # what still runs when we stop it is of no interest
        "[limits]",
        "connections_per_address = 10000",  # the load client has one address
        *TIER,
    ]
    rows = []
    for name, upstream in upstreams.items():
        lines += [
            f"[providers.sim{name}]",
            'dialect = "openai"',
            f'base_url = "{upstream.url}/v1"',
            'api_key = "bench"',
        ]
        models = AUTO if auto else ((f"bench-{name}", 2.00, 8.00),)
        rows += [(model, f"sim{name}", paid, earned) for model, paid, earned in models]
    for model, provider, paid, earned in rows:
        lines += [
            "[[models]]",
            f'id = "{model}"',
            f'provider = "{provider}"',
            f'upstream = "{SIM_MODEL}"',
            f"price = {{ input = {paid:.2f}, output = {earned:.2f} }}",
        ]
    config.write_text("\n".join([*lines, *more]) + "\n")
    wanted = ["keys", "create", "--account", "bench", "--tier", "business", "--json"]
    made = subprocess.run(
        [*KPROXY, *wanted, "--data-dir", str(data)], capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        raise BenchError(f"kproxy keys create ended with {made.returncode}\n{made.stderr}")
    key = json.loads(made.stdout)["key"]
    return [*KPROXY, "serve", "--config", str(config), "--data-dir", str(data)], key

"""Sets up the peers of bench/peers.py: providers in, how each peer is started and asked out.

Every peer is one process (kproxy also with two workers), as its documentation wants it in
production, with its request log off and the same key asked for where it checks one; Portkey's open
gateway checks none. Raised limits are those that would otherwise hold back 1,000 streams of one
caller or to one provider. Nothing is started here.
"""

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.configs import (
    SIM_MODEL,
    Place,
    Upstream,
    kproxy_command,
    nginx_command,
    nginx_program,
)
from bench.install import Missing, node, on_path, says, venv
from bench.processes import BenchError, free_ports

__all__ = ["PEERS", "Launch", "Peer"]

LITELLM = "litellm[proxy]==1.106.12"  # never 1.82.7, 1.82.8 or 1.107.0
PORTKEY = {"@portkey-ai/gateway": "1.15.2"}
# With the newer server that npm would choose, each streamed answer is a 500 ("immutable" headers).
PORTKEY_WITHIN = {"@hono/node-server": "1.14.1"}
FASTAPI = ("fastapi==0.165.0", "httpx==0.28.1", "uvicorn[standard]==0.54.0")
AIOHTTP = ("aiohttp[speedups]==3.14.5",)
KEY = f"sk-{secrets.token_hex(16)}"
BEARER = f"Authorization: Bearer {KEY}"
BY_HAND = Path(__file__).parent / "byhand"
ROOT = Path(__file__).parents[1]

Upstreams = Mapping[str, Upstream]


@dataclass(frozen=True, slots=True)
class Launch:
    """One process tree: what starts it, which path answers once it is ready, where callers go."""

    command: Sequence[str]
    ready: tuple[int, str]
    places: Mapping[str, Place]
    headers: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Peer:
    """A line of the comparison.

    `had` installs or finds it and says which version; it raises Missing. `launches` sets it up for
    these providers by cell, in a directory of its own.
    """

    name: str
    had: Callable[[], str]
    launches: Callable[[Path, Upstreams], list[Launch]]


def _all(upstreams: Upstreams, port: int, prefix: str = "") -> dict[str, Place]:
    """One port, and a model name per cell."""
    return {name: Place(port, f"{prefix}{name}") for name in upstreams}


def _has_nginx() -> str:
    try:
        return says([nginx_program(), "-v"]).removeprefix("nginx version: ")
    except BenchError as problem:
        raise Missing(str(problem)) from None


def _nginx(scratch: Path, upstreams: Upstreams) -> list[Launch]:
    command, places = nginx_command(scratch, upstreams, KEY)
    return [Launch(command, (next(iter(places.values())).port, "/"), places, (BEARER,))]


def _has_haproxy() -> str:
    return says([on_path("haproxy", "haproxy"), "-v"]).partition(" - ")[0]


def _haproxy(scratch: Path, upstreams: Upstreams) -> list[Launch]:
    ports = dict(zip(upstreams, free_ports(len(upstreams)), strict=True))
    parts = [
        f"""
frontend at-{name}
    bind 127.0.0.1:{ports[name]} backlog 4096
    monitor-uri /readyz
    http-request deny deny_status 401 unless {{ req.hdr(authorization) -m str "Bearer {KEY}" }}
    default_backend to-{name}
backend to-{name}
    server sim 127.0.0.1:{upstream.port}
"""
        for name, upstream in upstreams.items()
    ]
    config = scratch / "haproxy.cfg"
    # http-no-delay: its manual asks for it where each piece is to leave at once.
    config.write_text(
        f"""global
    nbthread 1
    maxconn 8192
defaults
    mode http
    maxconn 8192
    option http-no-delay
    http-reuse always
    timeout connect 5s
    timeout client 300s
    timeout server 300s
    timeout http-keep-alive 300s
{"".join(parts)}"""
    )
    command = [on_path("haproxy", "haproxy"), "-db", "-q", "-f", str(config)]
    places = {name: Place(port, SIM_MODEL) for name, port in ports.items()}
    return [Launch(command, (next(iter(ports.values())), "/readyz"), places, (BEARER,))]


def _has_kproxy() -> str:
    git = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    return f"kproxy at {says(git) or 'no commit'}"


def _kproxy(scratch: Path, upstreams: Upstreams, workers: int = 1) -> list[Launch]:
    (port,) = free_ports(1)
    command, key = kproxy_command(scratch, upstreams, port, workers)
    places = _all(upstreams, port, "bench-")
    return [Launch(command, (port, "/readyz"), places, (f"Authorization: Bearer {key}",))]


def _kproxy_auto(scratch: Path, upstreams: Upstreams) -> list[Launch]:
    """A process per cell whose requests are routed: `auto` could not tell the cells apart."""
    found = []
    for name in ("json", "first"):
        if name in upstreams:
            folder = scratch / name
            folder.mkdir()
            (port,) = free_ports(1)
            behind = {name: upstreams[name]}
            command, key = kproxy_command(folder, behind, port, auto=True)
            place = Place(port, "auto", (f"Authorization: Bearer {key}",))
            found.append(Launch(command, (port, "/readyz"), {name: place}))
    return found


def _has_litellm() -> str:
    venv("litellm", (LITELLM,))
    return LITELLM


def _litellm(scratch: Path, upstreams: Upstreams) -> list[Launch]:
    rows = [
        {
            "model_name": name,
            "litellm_params": {
                "model": f"openai/{SIM_MODEL}",
                "api_base": f"{upstream.url}/v1",
                "api_key": "bench",
            },
        }
        for name, upstream in upstreams.items()
    ]
    settings = {
        "model_list": rows,
        "litellm_settings": {"request_timeout": 600, "set_verbose": False},
        "general_settings": {"master_key": KEY},
    }
    config = scratch / "litellm.yaml"
    config.write_text(json.dumps(settings))  # which YAML includes
    env = {
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOG": "ERROR",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # do not fetch prices at the start
        "AIOHTTP_CONNECTOR_LIMIT": "4096",
        "AIOHTTP_CONNECTOR_LIMIT_PER_HOST": "4096",
    }
    (port,) = free_ports(1)
    command = [str(venv("litellm", (LITELLM,)) / "litellm"), "--config", str(config)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    ready = (port, "/health/readiness")
    return [Launch(command, ready, _all(upstreams, port), (BEARER,), env)]


def _has_portkey() -> str:
    program = on_path("node", "nodejs")
    node("portkey", PORTKEY, PORTKEY_WITHIN)
    parts = [f"{name}@{version}" for name, version in (PORTKEY | PORTKEY_WITHIN).items()]
    return f"{' with '.join(parts)}, node {says([program, '--version'])}"


def _portkey(scratch: Path, upstreams: Upstreams) -> list[Launch]:
    """Who answers is said by headers of each request. It listens on every address: it cannot be
    told otherwise."""
    folder = node("portkey", PORTKEY, PORTKEY_WITHIN)
    script = folder / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    (port,) = free_ports(1)
    places = {}
    for name, upstream in upstreams.items():
        host = f"x-portkey-custom-host: {upstream.url}/v1"
        headers = ("x-portkey-provider: openai", host, "Authorization: Bearer bench")
        places[name] = Place(port, SIM_MODEL, headers)
    command = [on_path("node", "nodejs"), str(script), f"--port={port}", "--headless"]
    env = {"NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1"}
    return [Launch(command, (port, "/"), places, env=env)]


def _by_hand(upstreams: Upstreams, port: int) -> dict[str, str]:
    bases = {name: f"{upstream.url}/v1" for name, upstream in upstreams.items()}
    return {
        "PROXY_UPSTREAMS": json.dumps(bases),
        "PROXY_MODEL": SIM_MODEL,
        "PROXY_KEY": KEY,
        "PROXY_PORT": str(port),
    }


def _has_fastapi() -> str:
    venv("fastapi", FASTAPI)
    return " ".join(FASTAPI)


def _fastapi(scratch: Path, upstreams: Upstreams) -> list[Launch]:
    (port,) = free_ports(1)
    command = [str(venv("fastapi", FASTAPI) / "uvicorn"), "with_fastapi:app"]
    command += ["--app-dir", str(BY_HAND), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--no-access-log", "--log-level", "warning"]
    env = _by_hand(upstreams, port)
    return [Launch(command, (port, "/readyz"), _all(upstreams, port), (BEARER,), env)]


def _has_aiohttp() -> str:
    venv("aiohttp", AIOHTTP)
    return " ".join(AIOHTTP)


def _aiohttp(scratch: Path, upstreams: Upstreams) -> list[Launch]:
    (port,) = free_ports(1)
    command = [str(venv("aiohttp", AIOHTTP) / "python"), str(BY_HAND / "with_aiohttp.py")]
    env = _by_hand(upstreams, port)
    return [Launch(command, (port, "/readyz"), _all(upstreams, port), (BEARER,), env)]


PEERS = (
    Peer("nginx", _has_nginx, _nginx),
    Peer("haproxy", _has_haproxy, _haproxy),
    Peer("kproxy", _has_kproxy, _kproxy),
    Peer("kproxy-x2", _has_kproxy, lambda scratch, behind: _kproxy(scratch, behind, 2)),
    Peer("kproxy-auto", _has_kproxy, _kproxy_auto),
    Peer("aiohttp", _has_aiohttp, _aiohttp),
    Peer("fastapi", _has_fastapi, _fastapi),
    Peer("portkey", _has_portkey, _portkey),
    Peer("litellm", _has_litellm, _litellm),
)
"""In the order of the table; the direct line comes before them and is no peer."""

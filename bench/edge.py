"""Measures kproxy as an edge: idle connections, HTTP/2, and a bystander of HTTP/2 floods.

    python bench/edge.py                    all parts, three rounds: about ten minutes
    python bench/edge.py --quick            one short round, to see that all of it works
    python bench/edge.py --parts h2,flood   some parts
    python bench/edge.py --out NAME         also writes bench/results/NAME.json

    idle    2,000 further kept connections that have asked once, at a fresh process: KiB each
    h2      requests/s and CPU per request by h2load: HTTP/1.1 and 2, plain and over TLS
    flood   an attacker (bench/flood.py) beside a caller at 200 requests a second: how long its
            connections last, and the caller's p99 while it lasts over that of just before

nginx stands beside kproxy in the first two, with the same provider (`kproxy sim`). That streams
survive a SIGTERM and requests a hundred reloads is not measured but tested: tests/story/
test_signals.py and test_reload.py. Run it from the project's root on an otherwise idle machine.
Linux only. Ports are free ones, files are temporary, all is stopped at the end, also on Ctrl-C.
Exit code: 0, also when a goal is missed; 2 when a part did not start or died.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # started as a file, not as a module

from bench.cells import compile_load
from bench.configs import SIM_MODEL, Pacing, Upstream, kproxy_command, nginx_command
from bench.flood import KINDS
from bench.h2 import WAYS, h2load
from bench.idle import per_connection
from bench.processes import BenchError, Server, free_ports, prepare
from bench.report import machine, write
from bench.targets import is_open, open_sims
from bench.tls import can_make, make_certificate, nginx_tls

RESULTS = Path(__file__).parent / "results"
PARTS = ("idle", "h2", "flood")
JSON = Pacing("json", 0, 0, 16)
MOST_KIB, MOST_SECONDS, MOST_RATIO = 20.0, 1.0, 2.0
FURTHER, RATE = 2000, 200


@dataclass(frozen=True, slots=True)
class Edge:
    """A running server: its ports by whether they speak TLS, and what a caller sends."""

    name: str
    server: Server
    ports: Mapping[bool, int]
    body: Path
    headers: Sequence[str]


class Stage:
    """Starts servers before one provider and stops them; `seconds` is the length of a window."""

    def __init__(self, stack: ExitStack, scratch: Path, quick: bool) -> None:
        self.load = compile_load()
        self.scratch = scratch
        self.seconds = 2 if quick else 10
        self._stack = stack
        _, places = stack.enter_context(open_sims(scratch, [JSON]))
        self._upstreams = {"json": Upstream(places["json"].port)}
        self.certificate = make_certificate(scratch) if can_make() else None
        self._count = 0

    def kproxy(self) -> Edge:
        """A fresh one, with a TLS listener where there is a certificate."""
        folder = self._folder("kproxy")
        plain, secure = free_ports(2)
        more = []
        if self.certificate:
            files = f'certificate = "{self.certificate.chain}", key = "{self.certificate.key}"'
            more = ["[[listeners]]", f'address = "127.0.0.1:{secure}"', f"tls = {{ {files} }}"]
        command, key = kproxy_command(folder, self._upstreams, plain, more=more)
        server = self._start("kproxy", command, folder, plain)
        headers = (f"Authorization: Bearer {key}",)
        ports = {False: plain, True: secure}
        return Edge("kproxy", server, ports, self._body("bench-json"), headers)

    def nginx(self, multiplexed: bool, tls: bool) -> Edge:
        """A fresh one that listens in one way."""
        folder = self._folder("nginx")
        listen = "http2" if multiplexed else ""
        if tls:
            assert self.certificate is not None
            listen = f"ssl {listen}; {nginx_tls(self.certificate)}"
        command, places = nginx_command(folder, self._upstreams, listen=listen)
        port = places["json"].port
        server = self._start("nginx", command, folder, port)
        return Edge("nginx", server, {tls: port}, self._body(SIM_MODEL), ())

    def _folder(self, name: str) -> Path:
        self._count += 1
        folder = self.scratch / f"{name}-{self._count}"
        folder.mkdir()
        return folder

    def _start(self, name: str, command: Sequence[str], folder: Path, port: int) -> Server:
        server = Server(name, command, folder / "log")
        self._stack.callback(server.stop)
        server.wait_ready(lambda: is_open(port))
        return server

    def _body(self, model: str) -> Path:
        path = self.scratch / f"body-{model}.json"
        question = {"role": "user", "content": "Why is the sea salt?"}
        path.write_text(json.dumps({"model": model, "messages": [question]}))
        return path

    def client(self, mode: str, edge: Edge, *flags: str) -> list[str]:
        """The command line of the load client."""
        command = [str(self.load), mode, "--port", str(edge.ports[False])]
        command += ["--body", str(edge.body), *flags]
        for header in edge.headers:
            command += ["--header", header]
        return command


def main() -> int:
    wanted = _arguments()
    prepare()
    measured = {"idle": measure_idle, "h2": measure_h2, "flood": measure_flood}
    shown = {"idle": show_idle, "h2": show_h2, "flood": show_flood}
    about = machine()
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    found: dict[str, Any] = {"machine": about}
    try:
        with tempfile.TemporaryDirectory(prefix="kproxy-edge-") as scratch, ExitStack() as stack:
            stage = Stage(stack, Path(scratch), wanted.quick)
            for part in wanted.parts:
                print(f"measuring {part}", file=sys.stderr)
                found[part] = measured[part](stage, wanted.rounds)
                print()
                print("\n".join(shown[part](found[part])))
    except BenchError as problem:
        print(f"bench: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return 130
    if wanted.out:
        write(RESULTS / f"{wanted.out}.json", found)
    return 0


def _arguments() -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, help="default 3, with --quick 1")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--out", metavar="NAME")
    wanted = parser.parse_args()
    asked = wanted.parts.split(",")
    if unknown := set(asked) - set(PARTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    wanted.parts = [part for part in PARTS if part in asked]
    wanted.rounds = wanted.rounds or (1 if wanted.quick else 3)
    return wanted


def measure_idle(stage: Stage, rounds: int) -> dict[str, list[float]]:
    """KiB of each round, by server."""
    found: dict[str, list[float]] = {"nginx": [], "kproxy": []}
    for _ in range(rounds):
        for edge in (stage.nginx(False, False), stage.kproxy()):
            load = stage.client("idle", edge)
            found[edge.name].append(per_connection(load, edge.server, FURTHER) / 1024)
            edge.server.stop()
    return found


def show_idle(found: Mapping[str, Sequence[float]]) -> Iterator[str]:
    yield f"memory of a further idle connection, KiB (of {FURTHER:,})"
    for name, values in found.items():
        kept = "kept" if median(values) <= MOST_KIB else "MISSED"
        promise = f"<= {MOST_KIB:g} {kept}" if name == "kproxy" else ""
        yield f"  {name:<10}{_span(values, 1):<32}{promise}".rstrip()


def measure_h2(stage: Stage, rounds: int) -> dict[str, Any]:
    """The runs of each way and server; empty where h2load is missing."""
    if shutil.which("h2load") is None:
        return {"left_out": "h2load is not installed (Debian: apt-get install nghttp2-client)"}
    ways = [way for way in WAYS if stage.certificate or not way.tls]
    kproxy = stage.kproxy()
    edges = {way: [stage.nginx(way.multiplexed, way.tls), kproxy] for way in ways}
    found: dict[str, Any] = {way.name: {"nginx": [], "kproxy": []} for way in ways}
    for turn in range(rounds):
        for way in ways:
            for edge in edges[way] if turn % 2 == 0 else reversed(edges[way]):
                port = edge.ports[way.tls]
                run = h2load(way, port, edge.server, edge.body, edge.headers, stage.seconds)
                found[way.name][edge.name].append(run)
    return found


def show_h2(found: Mapping[str, Any]) -> Iterator[str]:
    if "left_out" in found:
        yield f"HTTP/2: left out, {found['left_out']}"
        return
    if len(found) < len(WAYS):
        yield "over TLS: left out, trustme is not installed (the extra dev has it)"
    yield (
        f"{'JSON by h2load, 64 at once':<34}{'requests/s':<30}{'CPU us per request':<28}"
        "to nginx  busy: load, target"
    )
    for way, by_name in found.items():
        for name, runs in by_name.items():
            cpu = [run["cpu_us"] for run in runs]
            base = [run["cpu_us"] for run in by_name["nginx"]]
            known = [a / b for a, b in zip(cpu, base, strict=True) if a and b]
            ratio = f"{median(known):.2f}" if known and name != "nginx" else ""
            busy = [median(run[key] for run in runs) for key in ("load_share", "target_share")]
            errors = sum(run["errors"] for run in runs)
            problem = f"  {errors} errors" if errors else ""
            shown = _span([run["per_second"] for run in runs], 0)
            costs = _span([one for one in cpu if one is not None], 1)
            yield (
                f"  {way:<24}{name:<8}{shown:<30}{costs:<28}{ratio:<10}"
                f"{busy[0]:.0%}, {busy[1]:.0%}{problem}"
            )


def measure_flood(stage: Stage, rounds: int) -> dict[str, list[dict[str, Any]]]:
    """The runs of each attack."""
    edge = stage.kproxy()
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    for _ in range(rounds):
        for kind in KINDS:
            calm = _bystander(stage, edge)
            found[kind].append(_under_attack(stage, edge, kind) | {"calm_us": calm})
    return found


def _bystander(stage: Stage, edge: Edge) -> float:
    """The p99 of a steady caller, in us."""
    flags = ["--connections=16", f"--rate={RATE}", f"--seconds={stage.seconds}", "--warm=1"]
    command = stage.client("json", edge, *flags)
    made = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if made.returncode != 0:
        raise BenchError(f"load ended with {made.returncode}: {made.stderr}")
    report = json.loads(made.stdout.splitlines()[-1])
    if report["errors"]:
        raise BenchError(f"the bystander met {report['errors']} errors: {report['first_error']}")
    return float(report["latency_us"]["p99"])


def _under_attack(stage: Stage, edge: Edge, kind: str) -> dict[str, Any]:
    key = edge.headers[0].rpartition(" ")[2]
    script = str(Path(__file__).with_name("flood.py"))
    command = [sys.executable, script, kind, "--port", str(edge.ports[False]), "--key", key]
    command += ["--seconds", str(stage.seconds + 1.5)]
    before = edge.server.usage().cpu
    attacker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        attacked = _bystander(stage, edge)
        said, _ = attacker.communicate(timeout=30)
    finally:
        attacker.kill()
        attacker.wait()
    edge.server.check()
    if attacker.returncode != 0:
        raise BenchError(f"the attacker ended with {attacker.returncode}")
    used = edge.server.usage().cpu - before
    return json.loads(said) | {"attacked_us": attacked, "target_cpu": used}


def show_flood(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    yield (
        f"{'flood':<16}{'connections':<13}{'ended in, s: p50, max (<= 1)':<32}"
        f"{'caller p99, ms: calm, attacked':<32}{f'ratio (<= {MOST_RATIO:g})':<28}GOAWAY by code"
    )
    for kind, runs in found.items():
        ended = [seconds for run in runs for seconds in run["ended"]]
        stood = sum(run["stood"] for run in runs)
        kept = "kept" if ended and max(ended) <= MOST_SECONDS and not stood else "MISSED"
        lasted = f"{median(ended):.4f}, {max(ended):.4f} {kept}" if ended else f"- {kept}"
        calm, attacked = (
            median(run[key] for run in runs) / 1e3 for key in ("calm_us", "attacked_us")
        )
        ratios = [run["attacked_us"] / run["calm_us"] for run in runs]
        verdict = "kept" if median(ratios) <= MOST_RATIO else "MISSED"
        stands = f"  {stood} not ended" if stood else ""
        codes = Counter[str]()
        for run in runs:
            codes.update(run["codes"])
        said = ", ".join(f"{code}: {count}" for code, count in codes.items())
        yield (
            f"  {kind:<14}{len(ended):<13}{lasted:<32}{f'{calm:.2f}, {attacked:.2f}':<32}"
            f"{f'{_span(ratios, 2)} {verdict}':<28}{said}{stands}"
        )


def _span(values: Sequence[float], digits: int) -> str:
    if not values:
        return "-"
    texts = [f"{one:,.{digits}f}" for one in (median(values), min(values), max(values))]
    return texts[0] if len(values) == 1 else f"{texts[0]} ({texts[1]} to {texts[2]})"


if __name__ == "__main__":
    raise SystemExit(main())

"""Measures how many of sixteen provider faults a gateway keeps from its callers (bench/sixteen.py).

    python bench/faults.py --kproxy                   kproxy, started for each fault anew
    python bench/faults.py --kproxy --full            with the true times, some eight minutes
    python bench/faults.py --base-url URL --key KEY --primary-model NAME    any other gateway
    python bench/faults.py --kproxy --only cut,stall  some of them

It starts two simulated providers, the primary one at the first port of `--ports` and the fallback
at the second, anew for each fault. A gateway has to be configured by hand, before: the primary
model at `http://127.0.0.1:PORT/v1`, the fallback behind it, 2 retries, 30 s for a request (3 s
without `--full`). Both are to be asked for one name, `--upstream`, since the words of an answer
depend on it. Where the request itself says what to fall back on, `--fields` adds to its body, and
`--fallback-model` makes it a request of kproxy's own kind: `x_kairosroute` with both models, with
rescue and explanation. `--pause` lets a gateway forget between two faults what it has seen.

Exit code: 0 for 16 of 16 (or all that were chosen), 1 for less, 2 when a part did not start.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # started as a file, not as a module

from bench.judge import Played, judge, score, table
from bench.processes import free_ports
from bench.sixteen import SIXTEEN, Scale, Scenario
from bench.stage import Behind, Gateway, Row, kproxy_config, play
from tests.fakes.server import Simulated, served, simulating

SHORTER = 10.0
"""By how much all times are shorter without --full."""


def main() -> int:
    wanted = _arguments()
    scale = Scale(1.0 if wanted.full else SHORTER)
    rows: list[tuple[Played, Sequence[str]]] = []
    with tempfile.TemporaryDirectory(prefix="kproxy-bench-") as scratch:
        for scenario in wanted.only:
            print(f"{scenario.name} ...", file=sys.stderr)
            try:
                played = _play(wanted, scenario, scale, Path(scratch) / scenario.key)
            except (AssertionError, OSError) as problem:
                print(f"bench: {scenario.name}: {problem}", file=sys.stderr)
                return 2
            receipts = wanted.kproxy or wanted.fallback_model is not None
            rows += [(one, judge(one, receipts=receipts)) for one in played]
            time.sleep(wanted.pause)
    print("\n".join(table(rows)))
    print(f"\n{score(rows)} of {len(wanted.only)}")
    return 0 if score(rows) == len(wanted.only) else 1


def _play(
    wanted: argparse.Namespace, scenario: Scenario, scale: Scale, folder: Path
) -> list[Played]:
    """The scenario in all its modes, from providers that have just begun."""
    found = []
    with _providers(wanted, scenario, scale, folder) as (primary, fallback):
        for mode in scenario.modes:
            primary.forget()
            fallback.forget()
            behind = Behind(primary, fallback, wanted.upstream)
            with _gateway(wanted, scenario, scale, folder / mode, behind) as gateway:
                found.append(play(scenario, mode, scale, gateway, behind))
    return found


@contextmanager
def _providers(
    wanted: argparse.Namespace, scenario: Scenario, scale: Scale, folder: Path
) -> Iterator[tuple[Simulated, Simulated]]:
    ports = wanted.ports or free_ports(2)
    rules = (scenario.primary, scenario.fallback)
    given = [
        [*scale.pace(), "--listen", f"127.0.0.1:{port}"]
        + (["--fault", f"{wanted.upstream}!{scale.rule(rule)}"] if rule else [])
        for port, rule in zip(ports, rules, strict=True)
    ]
    with (
        simulating(folder / "primary", *given[0]) as primary,
        simulating(folder / "fallback", *given[1]) as fallback,
    ):
        yield primary, fallback


@contextmanager
def _gateway(
    wanted: argparse.Namespace, scenario: Scenario, scale: Scale, folder: Path, behind: Behind
) -> Iterator[Gateway]:
    """The one that was named, or a kproxy that has just begun."""
    if not wanted.kproxy:
        yield wanted.gateway
        return
    urls = (behind.primary.base_url, behind.fallback.base_url)
    row = Row(wanted.upstream, urls, behind.slugs, scenario.windows)
    server = served(folder, kproxy_config([row], scale))
    try:
        yield Gateway(server.address, server.key, _kairosroute(row.candidates))
    finally:
        server.process.stop()
        if server.process.complaints:
            print(server.process.complaints, file=sys.stderr)


def _kairosroute(models: Sequence[str]) -> dict[str, Any]:
    extension = {"models": list(models), "rescue": True, "explain": True}
    return {"model": "auto", "x_kairosroute": extension}


def _arguments() -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kproxy", action="store_true")
    parser.add_argument("--base-url", metavar="URL")
    parser.add_argument("--key", default="none")
    parser.add_argument("--primary-model", metavar="NAME")
    parser.add_argument("--fallback-model", metavar="NAME")
    parser.add_argument("--fields", type=json.loads, default={}, metavar="JSON")
    parser.add_argument("--upstream", default="sixteen", metavar="NAME")
    parser.add_argument("--ports", type=_ports, metavar="P,P", help="default with --kproxy: free")
    parser.add_argument("--pause", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", type=_scenarios, default=SIXTEEN, metavar="KEYS")
    wanted = parser.parse_args()
    if not wanted.kproxy:
        if not (wanted.base_url and wanted.primary_model and wanted.ports):
            parser.error("either --kproxy, or --base-url with --primary-model and --ports")
        wanted.gateway = _named(wanted)
    return wanted


def _named(wanted: argparse.Namespace) -> Gateway:
    place = urlsplit(wanted.base_url)
    if place.scheme != "http" or place.hostname is None:
        raise SystemExit("bench: --base-url is an http:// address")
    fields = {"model": wanted.primary_model, **wanted.fields}
    if wanted.fallback_model is not None:
        fields |= _kairosroute([wanted.primary_model, wanted.fallback_model])
    path = place.path.rstrip("/") + "/chat/completions"
    return Gateway((place.hostname, place.port or 80), wanted.key, fields, path)


def _ports(text: str) -> list[int]:
    primary, fallback = text.split(",")
    return [int(primary), int(fallback)]


def _scenarios(text: str) -> tuple[Scenario, ...]:
    keys = text.split(",")
    unknown = set(keys) - {one.key for one in SIXTEEN}
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no {', '.join(sorted(unknown))}")
    return tuple(one for one in SIXTEEN if one.key in keys)


if __name__ == "__main__":
    raise SystemExit(main())

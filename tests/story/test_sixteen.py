"""The sixteen faults of bench/sixteen.py through a real kproxy, as a caller and a receipt see them.

One kproxy and two simulated providers play all scenarios at the same time. Each has a model name
and two provider names of its own, so that neither a breaker nor a counter of one is seen by
another. All times are a tenth of the true ones: a deadline of 3 s, a first token after 2 s, 6 s of
flapping. KPROXY_TRUE_TIMES=1 plays them as they are, for a minute and a half. Both providers speak
OpenAI's API in one round and Anthropic's in the other; the caller sees the same.
"""

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from bench.judge import Played, judge, score, table
from bench.sixteen import MORE, SIXTEEN, Mode, Scale, Scenario
from bench.stage import Behind, Gateway, Row, kproxy_config, play
from tests.fakes.server import Served, Simulated, serving, simulating

pytestmark = [pytest.mark.loopback, pytest.mark.timeout(240)]

SCALE = Scale(1.0 if os.environ.get("KPROXY_TRUE_TIMES") == "1" else 10.0)
Part = tuple[Scenario, Mode]
PARTS: list[Part] = [(one, mode) for one in (*SIXTEEN, *MORE) for mode in one.modes]
IDS = [f"{one.key}-{mode}" for one, mode in PARTS]


def rules(fault: str) -> Iterator[str]:
    """What one of the two providers is told."""
    for scenario, mode in PARTS:
        rule = scenario.primary if fault == "primary" else scenario.fallback
        if rule:
            yield "--fault"
            yield f"{scenario.key}-{mode}!{SCALE.rule(rule)}"


def row(part: Part, acme: Simulated, good: Simulated, dialect: str) -> Row:
    scenario, mode = part
    model = f"{scenario.key}-{mode}"
    urls, slugs = (acme.base_url, good.base_url), (f"acme-{model}", f"good-{model}")
    return Row(model, urls, slugs, scenario.windows, dialect)


def played(part: Part, server: Served, acme: Simulated, good: Simulated, dialect: str) -> Played:
    scenario, mode = part
    one = row(part, acme, good, dialect)
    extension = {"models": one.candidates, "rescue": True, "explain": True}
    gateway = Gateway(server.address, server.key, {"model": "auto", "x_kairosroute": extension})
    return play(scenario, mode, SCALE, gateway, Behind(acme, good, one.model, one.slugs, dialect))


@pytest.fixture(scope="module", params=["openai", "anthropic"])
def everything(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Played]]:
    """All scenarios, played at once, so that the silences pass together."""
    dialect: str = request.param
    folder = tmp_path_factory.mktemp("sixteen")
    with (
        simulating(folder / "acme", *SCALE.pace(), *rules("primary")) as acme,
        simulating(folder / "good", *SCALE.pace(), *rules("fallback")) as good,
    ):
        config = kproxy_config([row(part, acme, good, dialect) for part in PARTS], SCALE)
        with serving(folder / "front", config) as server, ThreadPoolExecutor(len(PARTS)) as pool:
            results = pool.map(lambda part: played(part, server, acme, good, dialect), PARTS)
            yield dict(zip(IDS, results, strict=True))


@pytest.mark.parametrize("name", IDS)
def test_the_caller_the_providers_and_the_receipt(
    everything: Mapping[str, Played], name: str
) -> None:
    assert judge(everything[name], receipts=True) == []


def test_the_score(everything: Mapping[str, Played]) -> None:
    rows = [(one, judge(one, receipts=True)) for one in everything.values()]
    print(*table(rows), sep="\n")
    assert score(rows) == len(SIXTEEN) == 16

"""What is counted, under labels that no caller can invent."""

import pytest

from kproxy.errors import FaultKind
from kproxy.outcome import AttemptOutcome, Ending, Usage
from kproxy.telemetry.metrics import Metrics
from tests.fakes.samples import sample

KNOWN = {"provider": "acme", "model": "m"}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics([("acme", "m")])


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return sample(metrics.collect(), name, labels)


def _ended(
    provider: str,
    model: str,
    ending: Ending = Ending.COMPLETE,
    usage: Usage | None = None,
    cost: int | None = 0,
) -> AttemptOutcome:
    return AttemptOutcome(model, provider, 0.0, None, 1.0, ending, usage=usage, cost=cost)


def test_requests(metrics: Metrics) -> None:
    metrics.request("/livez", 200, 0.25)
    metrics.request("/livez", 200, 0.5)
    metrics.request("/livez", 0, 1)
    assert value(metrics, "kproxy_requests_total", route="/livez", status="200") == 2
    assert value(metrics, "kproxy_requests_total", route="/livez", status="cancelled") == 1
    assert value(metrics, "kproxy_request_duration_seconds_sum", route="/livez") == 1.75


def test_attempts_and_faults(metrics: Metrics) -> None:
    for ending in Ending:
        metrics.attempt(_ended("acme", "m", ending))
        assert value(metrics, "kproxy_attempts_total", **KNOWN, ending=ending.value) == 1
    for kind in FaultKind:
        metrics.fault("acme", kind)
        assert value(metrics, "kproxy_faults_total", provider="acme", fault=kind.value) == 1


def test_tokens_and_cost(metrics: Metrics) -> None:
    first = Usage(prompt_tokens=3, completion_tokens=2)
    metrics.attempt(_ended("acme", "m", usage=first, cost=1_500_000_000))
    unpriced = Usage(prompt_tokens=1, completion_tokens=1)
    metrics.attempt(_ended("acme", "m", usage=unpriced, cost=None))
    assert value(metrics, "kproxy_tokens_total", **KNOWN, type="prompt") == 4
    assert value(metrics, "kproxy_tokens_total", **KNOWN, type="completion") == 3
    assert value(metrics, "kproxy_cost_usd_total", **KNOWN) == 1.5


def test_first_tokens_fall_into_buckets(metrics: Metrics) -> None:
    metrics.first_token("acme", "m", 0.03)
    bucket = "kproxy_first_token_seconds_bucket"
    assert value(metrics, bucket, **KNOWN, le="0.025") == 0
    assert value(metrics, bucket, **KNOWN, le="0.05") == 1


def test_names_that_callers_invent_share_a_label(metrics: Metrics) -> None:
    for number in range(1_000):
        metrics.attempt(_ended("acme", f"invented-{number}"))
    other = {"provider": "acme", "model": "other", "ending": "complete"}
    assert value(metrics, "kproxy_attempts_total", **other) == 1_000
    assert b"invented" not in metrics.render()


def test_codes_that_a_provider_invents_share_a_label(metrics: Metrics) -> None:
    for code in ("overloaded", "overloaded", "a-provider-said", "and-another-one"):
        metrics.refused(code)
    assert value(metrics, "kproxy_refused_total", code="overloaded") == 2
    assert value(metrics, "kproxy_refused_total", code="other") == 2


def attempt(model: str, started: float, ended: float) -> AttemptOutcome:
    return AttemptOutcome(model, "acme", started, None, ended, Ending.FAULT)


@pytest.mark.parametrize(
    ("outcomes", "why"),
    [
        ([], {}),
        ([attempt("m", 0, 1)], {}),
        (
            [attempt("m", 0, 1), attempt("m", 1, 2), attempt("n", 2, 3)],
            {"again": 1, "elsewhere": 1},
        ),
        # In the order of their ends; the hedge began while the first was under way.
        ([attempt("n", 0.5, 1), attempt("m", 0, 2)], {"beside": 1}),
        (
            [attempt("m", 0, 2), attempt("m", 0.5, 1), attempt("o", 2, 3)],
            {"beside": 1, "elsewhere": 1},
        ),
    ],
)
def test_why_there_was_another_attempt(
    metrics: Metrics, outcomes: list[AttemptOutcome], why: dict[str, int]
) -> None:
    metrics.further(outcomes)
    names = ("again", "elsewhere", "beside")
    found = {one: value(metrics, "kproxy_further_attempts_total", why=one) for one in names}
    assert {name: count for name, count in found.items() if count} == why


def test_what_kproxy_adds_is_measured_finely(metrics: Metrics) -> None:
    metrics.planned(0.0007)
    assert value(metrics, "kproxy_overhead_seconds_bucket", le="0.0005") == 0
    assert value(metrics, "kproxy_overhead_seconds_bucket", le="0.001") == 1


def test_routes_that_nobody_configured_are_not_shown(metrics: Metrics) -> None:
    metrics.resting = {("acme", "m"): 4.0, ("acme", "invented"): 9.0}
    assert value(metrics, "kproxy_route_resting_seconds", **KNOWN) == 4
    assert b"invented" not in metrics.render()


def test_gauges_are_read_when_they_are_rendered(metrics: Metrics) -> None:
    now = {"sockets": 1.0, "idle": 2.0}
    metrics.watch("kproxy_sockets", "Sockets.", lambda: now["sockets"])
    names = ("provider", "state")
    metrics.watch_each(
        "kproxy_upstream_connections", "Kept.", names, lambda: {("acme", "idle"): now["idle"]}
    )
    metrics.watch_count("kproxy_lost", "Lost.", lambda: now["sockets"])
    now.update(sockets=7, idle=9)
    text = metrics.render()
    assert b"# HELP kproxy_sockets Sockets.\n" in text
    assert b"kproxy_sockets 7.0\n" in text
    assert b"# TYPE kproxy_lost_total counter\nkproxy_lost_total 7.0\n" in text
    assert b'kproxy_upstream_connections{provider="acme",state="idle"} 9.0\n' in text


def test_models_of_another_configuration(metrics: Metrics) -> None:
    metrics.attempt(_ended("new", "n"))
    metrics.know([("new", "n")])
    for provider, model in (("new", "n"), ("acme", "m")):
        metrics.attempt(_ended(provider, model))
    assert (
        value(metrics, "kproxy_attempts_total", provider="new", model="n", ending="complete") == 1
    )
    assert value(metrics, "kproxy_attempts_total", **KNOWN, ending="complete") == 1
    other = {"provider": "new", "model": "other", "ending": "complete"}
    assert value(metrics, "kproxy_attempts_total", **other) == 1


def test_two_of_them_do_not_meet(metrics: Metrics) -> None:
    """Nothing is registered for the process, so a test or a reload can have its own."""
    Metrics([("acme", "m")]).fault("acme", FaultKind.RESET)
    assert value(metrics, "kproxy_faults_total", provider="acme", fault="reset") == 0

"""Which key of the file becomes which parameter of a room."""

from pathlib import Path

from kproxy.config import Config, Overrides, load
from kproxy.config.params import (
    attempt_policy,
    health_params,
    hedge_budget,
    json_limits,
    listener_params,
    repeat_budget,
)
from kproxy.downstream.date import no_date
from kproxy.routing.budget import Budget

FILE = """
[limits]
http2 = { streams = 11 }
json_depth = 7
body = 1000
connections = 9
stream_buffer = 5000

[timeouts]
total = 30
first_token = 10
gap = 5
head = 3
write = 4

[attempts]
strategy = "race"
retries = 4
beside = 3
rescue = true
hedge_floor_ms = 20
hedge_samples = 50
breaker_failures = 7
breaker_rest = 2
breaker_longest_rest = 8
credential_rest = 99
"""


def config(folder: Path, text: str = FILE) -> Config:
    file = folder / "kproxy.toml"
    file.write_text(text)
    return load(Overrides(config=file), {"HOME": str(folder)})


def test_attempts(tmp_path: Path) -> None:
    policy = attempt_policy(config(tmp_path))
    assert (policy.strategy, policy.retries, policy.beside, policy.rescue) == ("race", 4, 3, True)
    assert (policy.hedge_floor, policy.hedge_samples) == (0.02, 50)
    times = policy.timeouts
    assert (times.total, times.first_token, times.gap) == (30, 10, 5)


def test_health(tmp_path: Path) -> None:
    params = health_params(config(tmp_path))
    breaker = params.breaker
    assert (breaker.failures, breaker.rest, breaker.longest_rest) == (7, 2, 8)
    assert params.credential_rest == 99


def test_a_share_of_nothing_allows_nothing(tmp_path: Path) -> None:
    text = "[attempts]\nhedge_share = 0\nrepeat_share = 0\n"
    for params in (hedge_budget(config(tmp_path, text)), repeat_budget(config(tmp_path, text))):
        budget = Budget(params)
        budget.deposit(0.0)
        assert not budget.withdraw(1e6)


def test_budgets(tmp_path: Path) -> None:
    text = "[attempts]\nhedge_share = 0.02\nrepeat_share = 0.5\n"
    assert hedge_budget(config(tmp_path, text)).share == 0.02
    repeats = repeat_budget(config(tmp_path, text))
    assert (repeats.share, repeats.start) == (0.5, 10.0)


def test_limits(tmp_path: Path) -> None:
    assert json_limits(config(tmp_path)).depth == 7
    params = listener_params(config(tmp_path), no_date)
    assert (params.stall, params.connection.head, params.connection.body.size) == (4, 3, 1000)
    assert (params.accept.connections, params.accept.send_buffer) == (9, 5000)
    assert params.connection.h2.streams == 11

"""What bench/peers.py makes of what it has stored: figures, notes, goals and the chart."""

from typing import Any
from xml.etree import ElementTree

import pytest

from bench.cells import CELLS, judge
from bench.chart import chart
from bench.ratios import Span, figures, goals, table
from bench.report import SAMPLES, pooled_p99
from bench.report import table as rows

S1000 = next(cell for cell in CELLS if cell.name == "s1000")
JSON = next(cell for cell in CELLS if cell.name == "json")
IDLE = next(cell for cell in CELLS if cell.name == "idle")
FIRST = next(cell for cell in CELLS if cell.name == "first")


def stored(*rounds: dict[str, Any], **alone: dict[str, float]) -> dict[str, Any]:
    lines = list(dict.fromkeys(line for one in rounds for cell in one.values() for line in cell))
    return {
        "command": "python bench/peers.py --peers a<b",
        "date": "2026-11-25",
        "machine": {"cores": 2, "kernel": "6.1", "python": "3.11", "cpu": "a processor"},
        "lines": lines,
        "alone": alone,
        "rounds": list(rounds),
    }


def json_round(nginx: float, kproxy: float) -> dict[str, Any]:
    return {"json": {"nginx": {"per_second": nginx}, "kproxy": {"per_second": kproxy}}}


def test_a_ratio_is_that_of_its_round() -> None:
    found = figures(stored(json_round(100, 50), json_round(1000, 100), json_round(10, 2)))["rps"]
    assert found["kproxy"].value == Span(50, 2, 100)
    assert found["kproxy"].ratio == Span(0.2, 0.1, 0.5)
    assert found["nginx"].ratio is None


def test_a_line_without_the_pace_has_no_cost_of_a_chunk() -> None:
    run: dict[str, Any] = {"per_second": 1.0, "pace": 0.9, "cpu_us": 5.0, "errors": 0}
    judge(S1000, run)
    assert "cpu_us" not in run
    held = {"s1000": {"nginx": {"cpu_us": 2.0}, "litellm": run}}
    figure = figures(stored(held))["s1000"]["litellm"]
    assert (figure.value, figure.note) == (None, "saturated")


@pytest.mark.parametrize(("pace", "kept"), [(0.95, True), (0.949, False)])
def test_the_pace_that_counts_as_held(pace: float, kept: bool) -> None:
    run: dict[str, Any] = {"per_second": 1.0, "pace": pace, "cpu_us": 5.0}
    judge(S1000, run)
    assert ("cpu_us" in run) is kept


def test_a_line_that_never_answers_has_failed() -> None:
    run: dict[str, Any] = {"per_second": 0.0, "pace": 0.0, "cpu_us": 1e6, "first_error": "500 no"}
    judge(S1000, run)
    assert run == {"pace": 0.0, "first_error": "500 no", "failed": "500 no"}


@pytest.mark.parametrize(("errors", "failed"), [(0, False), (10, False), (11, True), (4000, True)])
def test_a_line_with_many_errors_has_failed(errors: int, failed: bool) -> None:
    run: dict[str, Any] = {
        "per_second": 500.0, "cpu_us": 9.0, "memory_mb": 50.0, "rss_mb": 60.0,
        "errors": errors, "answered": 1000, "first_error": "status",
    }  # fmt: skip
    judge(JSON, run)
    assert run.get("failed") == ("status" if failed else None)
    assert [key in run for key in ("per_second", "cpu_us", "memory_mb")] == [not failed] * 3


@pytest.mark.parametrize(("held", "few"), [(1000, False), (990, False), (989, True)])
def test_memory_wants_the_streams_that_it_is_of(held: int, few: bool) -> None:
    run: dict[str, Any] = {"per_second": 9.0, "cpu_us": 9.0, "memory_mb": 50.0, "rss_mb": 60.0}
    run |= {"streams": held, "answered": held}
    judge(S1000, run)
    assert [key in run for key in ("memory_mb", "rss_mb")] == [not few] * 2
    assert run["cpu_us"] == 9.0
    idle: dict[str, Any] = {"connections": held, "answered": held, "rss_mb": 60.0}
    judge(IDLE, idle)
    assert ("rss_mb" in idle) is not few
    lines = [line for line in goals(stored({"s1000": {"kproxy": run}})) if "memory" in line]
    assert [line.endswith("MISSED (too few streams)" if few else "kept") for line in lines] == [
        True
    ]


def test_the_two_lines_of_the_relay_say_so_too() -> None:
    base, good = {"cpu_us": 10.0}, {"cpu_us": 11.0}
    bad = {"saturated": True}
    title = "SSE, 1,000 streams: CPU us per chunk"

    def promise(*rounds: dict[str, Any]) -> str:
        told = rows([{"s1000": one} for one in rounds], [])
        return next(line for line in told if line.startswith(title))

    one = {"nginx": base, "kproxy": good}
    assert promise(one, one).endswith("1.2 x kept")
    assert promise(one, {"nginx": base, "kproxy": bad}).endswith("MISSED (saturated)")
    assert promise({"nginx": base, "kproxy": bad}).endswith("MISSED (saturated)")
    assert promise(one, {"nginx": bad, "kproxy": good}).endswith("not measured (nginx saturated)")


def test_requests_that_were_never_sent_are_a_pace_not_held() -> None:
    run: dict[str, Any] = {"per_second": 9.0, "unsent": 7, "ttft_p50_us": 5.0}
    judge(FIRST, run)
    assert run["saturated"]
    assert "ttft_p50_us" not in run


def test_what_is_added_is_added_to_the_direct_line_of_the_round() -> None:
    times = {"direct": 1000.0, "nginx": 1200.0, "kproxy": 1300.0}
    one = {"first": {line: {"ttft_p50_us": taken} for line, taken in times.items()}}
    found = figures(stored(one))["first"]
    assert found["kproxy"].value is not None
    assert found["kproxy"].value.middle == pytest.approx(0.3)
    assert found["kproxy"].ratio is not None
    assert found["kproxy"].ratio.middle == pytest.approx(1.5)
    assert "direct" not in found


def added(nginx: float, kproxy: float) -> dict[str, Any]:
    times = {"direct": 500.0, "nginx": 500.0 + nginx, "kproxy": 500.0 + kproxy}
    return {"first": {line: {"ttft_p50_us": taken} for line, taken in times.items()}}


@pytest.mark.parametrize("nginx", [[19.0], [15.0, 18.0, 12.0, 19.0, 200.0], [-5.0, 5.0, 900.0]])
def test_nothing_is_a_multiple_of_noise(nginx: list[float]) -> None:
    run = stored(*(added(one, 300.0) for one in nginx))
    assert figures(run)["first"]["kproxy"].ratio is None
    assert [line.endswith("not measured") for line in goals(run)] == [True]
    assert " x " not in "".join(line for line in rows(run["rounds"], []) if "added" in line)


def test_what_is_added_has_one_ratio_of_all_rounds() -> None:
    run = stored(*(added(one, 300.0) for one in (10.0, 15.0, 60.0, 100.0, 300.0)))
    assert figures(run)["first"]["kproxy"].ratio == pytest.approx(Span(5.0, 5.0, 5.0))
    assert [line.endswith("MISSED") for line in goals(run)] == [True]
    assert ["  5.00  " in line for line in rows(run["rounds"], [])].count(True) == 1


def test_a_p99_wants_ten_thousand_samples_of_all_rounds() -> None:
    rounds = [{"first": {"a": {"ttft_all_us": [float(n)] * (SAMPLES // 2)}}} for n in (1, 2)]
    assert pooled_p99(rounds, "first", "a") == 2.0
    rounds[0]["first"]["a"]["ttft_all_us"].pop()
    assert pooled_p99(rounds, "first", "a") is None


def test_goals_say_kept_or_missed() -> None:
    lines = list(goals(stored(json_round(600, 101))))
    assert len(lines) == 1
    assert lines[0].endswith("kept")
    assert next(iter(goals(stored(json_round(600, 99))))).endswith("MISSED")


@pytest.mark.parametrize("bad", [1, 4, 5])
@pytest.mark.parametrize(
    ("spoilt", "why"), [({"saturated": True}, "saturated"), ({"failed": "died"}, "failed")]
)
def test_a_goal_is_not_kept_by_the_rounds_that_are_left(
    bad: int, spoilt: dict[str, Any], why: str
) -> None:
    base, good = {"cpu_us": 10.0}, {"cpu_us": 11.0}
    rounds = [{"s1000": {"nginx": base, "kproxy": spoilt}}] * bad
    rounds += [{"s1000": {"nginx": base, "kproxy": good}}] * (5 - bad)
    lines = [line for line in goals(stored(*rounds)) if "CPU per chunk" in line]
    assert [line.endswith(f"MISSED ({why})") for line in lines] == [True]
    turned = [{"s1000": {"nginx": spoilt, "kproxy": good}}] * bad
    turned += [{"s1000": {"nginx": base, "kproxy": good}}] * (5 - bad)
    lines = [line for line in goals(stored(*turned)) if "CPU per chunk" in line]
    assert [line.endswith(f"not measured (nginx {why})") for line in lines] == [True]


def bound(who: str, share: float = 0.97, kproxy: float = 130.0) -> dict[str, Any]:
    """nginx at the end of the other's core; by its rate kproxy looks better than it is."""
    runs = {
        "nginx": {"per_second": 9000.0, "cpu_us": 20.0, who: share},
        "kproxy": {"per_second": 2500.0, "cpu_us": kproxy, who: 0.5},
    }
    return {"json": runs}


@pytest.mark.parametrize(("who", "said"), [("sim_share", "provider"), ("load_share", "load")])
def test_a_rate_that_somebody_else_bounds_is_judged_by_cpu(who: str, said: str) -> None:
    calm = bound(who, 0.9)
    run = stored(bound(who), bound(who), calm)
    assert figures(run)["rps"]["nginx"].note == f"{said} busy"
    assert figures(run)["rps"]["kproxy"].note == ""
    assert figures(run)["json"]["nginx"].note == ""
    (missed,) = goals(run)
    assert missed.endswith(f"MISSED, by CPU per request, the {said} was busy")
    assert "<= 6 x nginx" in missed
    (kept,) = goals(stored(bound(who, kproxy=110.0)))
    assert kept.endswith(f"kept, by CPU per request, the {said} was busy")
    (rate,) = goals(stored(bound(who), calm, calm))
    assert rate.endswith("kept")
    assert f"9,000 {said} busy" in chart(run)


def test_two_workers_are_not_judged_by_cpu() -> None:
    runs = {
        "kproxy": {"per_second": 9000.0, "cpu_us": 20.0, "sim_share": 0.99},
        "kproxy-x2": {"per_second": 9000.0, "cpu_us": 20.0, "sim_share": 0.99},
    }
    (line,) = goals(stored({"json": runs}))
    assert line.endswith("not measured (kproxy provider busy)")
    runs["kproxy"]["sim_share"] = 0.5
    (line,) = goals(stored({"json": runs}))
    assert line.endswith("MISSED (provider busy)")


def test_a_goal_of_lines_that_were_left_out_says_so() -> None:
    run = stored(json_round(600, 101)) | {"left_out": {"portkey": "does not start"}}
    lines = list(goals(run))
    assert [line.partition("not measured ")[2] for line in lines] == [
        "", "(portkey left out)", "(portkey left out)"
    ]  # fmt: skip


def test_the_table_has_a_line_each() -> None:
    text = "\n".join(table(stored(json_round(100, 50), nginx={"idle_mb": 8.0})))
    assert "  nginx" in text
    assert "0.50" in text
    assert "memory when idle" in text


def test_the_chart_is_xml_and_says_what_it_shows() -> None:
    failed = {"json": {"nginx": {"per_second": 10.0}, "litellm": {"failed": "died"}}}
    drawn = chart(stored(json_round(100, 50) | {"s64": {}}, failed))
    root = ElementTree.fromstring(drawn)
    texts = ["".join(element.itertext()) for element in root.iter() if element.tag.endswith("text")]
    assert "$ python bench/peers.py --peers a<b" in texts
    assert "a processor, 2 cores, Linux 6.1, Python 3.11, 2026-11-25" in texts
    assert "failed" in texts
    assert "JSON, 64 connections: requests/s" in texts
    assert "prefers-color-scheme: dark" in drawn


def test_a_chart_of_nothing_is_a_chart() -> None:
    assert ElementTree.fromstring(chart(stored())) is not None

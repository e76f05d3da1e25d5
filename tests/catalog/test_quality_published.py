"""Tables of scores onto one scale, and from them a row's qualities: every rule, and the sources."""

import csv
import gzip
import json
from pathlib import Path

import pytest

from kproxy.catalog.load import Model, load_packaged
from kproxy.catalog.quality import CATEGORIES, LINES, PRIOR, Line, prior_at
from tests.catalog.published import (
    BESIDE,
    COLUMNS,
    ENOUGH,
    SCORES,
    SOURCES,
    Figure,
    chance,
    everyday,
    figures,
    linked,
    moved,
    odds,
    pool_means,
    read,
    score,
)
from tests.catalog.quality import BEFORE, LARGER, SCORED, fit, quality_of
from tests.catalog.table import OTHERS, SEED

KNOWN = figures()
WHOLE, PART = ("livebench_2026_06_25",), ("stories_2026_05_29",)
GUESS = (0.7,) * len(CATEGORIES)


def made(**found: Figure) -> dict[str, dict[str, Figure]]:
    """The same figures in every category; `x_2` is the subject `x-2`."""
    named = {name.replace("_", "-"): figure for name, figure in found.items()}
    return dict.fromkeys(CATEGORIES, named)


@pytest.fixture
def family(monkeypatch: pytest.MonkeyPatch) -> None:
    """`new` follows `old` and `small-old`; `mini` is a smaller `big`; `one` has its own scores."""
    monkeypatch.setattr("tests.catalog.quality.SCORED", {"one": "one", "new-half": "new-half"})
    before = {"new": ("old", "small-old"), "new-half": ("old",)}
    monkeypatch.setattr("tests.catalog.quality.BEFORE", before)
    monkeypatch.setattr("tests.catalog.quality.LARGER", {"mini": "big"})


def everywhere(quality: float) -> dict[str, float]:
    return dict.fromkeys(CATEGORIES, quality)


@pytest.mark.usefixtures("family")
class TestRow:
    def test_its_own_scores_are_what_counts(self) -> None:
        known = made(one=Figure(0.4, WHOLE))
        assert quality_of("one", GUESS, known) == (everywhere(0.4), "LiveBench 2026-06-25")

    def test_without_any_its_price_speaks(self) -> None:
        for unscored in ("one", "other"):
            found = quality_of(unscored, GUESS, made(other=Figure(0.4, WHOLE)))
            assert found == (everywhere(0.7), PRIOR)

    def test_a_later_generation_has_what_the_best_before_it_had(self) -> None:
        known = made(old=Figure(0.8, WHOLE), small_old=Figure(0.9, WHOLE))
        source = "as small-old, LiveBench 2026-06-25"
        assert quality_of("new", GUESS, known) == (everywhere(0.9), source)

    def test_or_what_its_price_says_if_that_is_more(self) -> None:
        assert quality_of("new", GUESS, made(old=Figure(0.6, WHOLE)))[1] == PRIOR

    def test_the_smaller_of_a_family_is_no_better_than_the_larger(self) -> None:
        source = f"{PRIOR}, at most as big"
        assert quality_of("mini", GUESS, made(big=Figure(0.5, WHOLE))) == (everywhere(0.5), source)
        assert quality_of("mini", GUESS, made(big=Figure(0.8, WHOLE))) == (everywhere(0.7), PRIOR)

    def test_another_side_of_a_category_is_half_of_it(self) -> None:
        half = round(chance((odds(0.2) + odds(0.8)) / 2), 3)
        known = made(new_half=Figure(0.2, PART), old=Figure(0.8, WHOLE))
        found, source = quality_of("new-half", GUESS, known)
        assert found == everywhere(half) == everywhere(0.5)
        story = "LLM Creative Story-Writing Benchmark 2026-05-29"
        assert source == f"{story} and as old, LiveBench 2026-06-25"
        assert quality_of("new", GUESS, made(old=Figure(0.1, PART))) == (everywhere(0.7), PRIOR)

    def test_the_source_names_the_categories_where_they_differ(self) -> None:
        known = made() | {"code": {"one": Figure(0.4, WHOLE)}}
        found, source = quality_of("one", GUESS, known)
        assert found == everywhere(0.7) | {"code": 0.4}
        assert source == (
            "code: LiveBench 2026-06-25; "
            f"reasoning, analysis, extraction, summarization, creative: {PRIOR}"
        )


class TestScale:
    def test_a_category_is_the_mean_of_the_groups_that_a_table_has(self) -> None:
        rows = {"m": {"a": 0.2, "b": 0.4, "c": 0.9}}
        assert score(rows, [["a", "b"], ["c"]])["m"] == pytest.approx(odds(0.6))
        assert score(rows, [["a"], ["b", "missing"]])["m"] == pytest.approx(odds(0.2))

    def test_enough_shared_models_give_middle_and_spread(self) -> None:
        mine = {str(n): float(n) for n in range(ENOUGH)} | {"alone": 20.0}
        theirs = {str(n): 3 + n / 2 for n in range(ENOUGH)}
        found = moved(mine, theirs, same_kind=True)
        assert found == pytest.approx(theirs | {"alone": 13.0})

    @pytest.mark.parametrize("why", ["few", "another kind", "they disagree"])
    def test_else_only_the_middle(self, why: str) -> None:
        count = ENOUGH - (why == "few")
        mine = {str(n): float(n) for n in range(count)} | {"alone": 20.0}
        theirs = {str(n): 3 + n / 2 for n in range(count)}
        if why == "they disagree":
            theirs = {str(n): 3 + (n % 2) / 2 for n in range(count)}
        found = moved(mine, theirs, same_kind=why != "another kind")
        step = found["0"] - mine["0"]
        assert found == pytest.approx({name: one + step for name, one in mine.items()})
        shared = [found[name] for name in theirs]
        assert sum(shared) == pytest.approx(sum(theirs.values()))

    def test_the_pools_models_come_out_near_what_they_have_there(self) -> None:
        scale = everyday()
        old = read("livebench_2024_11_25")
        columns = [[one] for one in next(iter(old.values()))]
        scores = score(old, columns)
        with (SCORES / "pools_2024.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                off = scale.quality(scores[row["subject"]]) - float(row["mean"]) / 100
                assert abs(off) < 0.13  # the pools themselves are half of that apart
        assert 0 < scale.slope < 1

    def test_the_pools_means(self, tmp_path: Path) -> None:
        data, pools = tmp_path / "d.gz", tmp_path / "p.json"
        lines = [{"pool": "p", "s": [1, 0]}, {"pool": "p", "s": [0.5, 0]}]
        data.write_bytes(gzip.compress("\n".join(map(json.dumps, lines)).encode()))
        pools.write_text(json.dumps({"p": {"models": [{"id": "a"}, {"id": "b"}]}}))
        assert pool_means(data, pools) == {("p", "a"): 75.0, ("p", "b"): 0.0}


class TestLines:
    def test_through_the_scored_models_a_standard_error_down(self) -> None:
        names = sorted(SCORED)[:4]
        prices = [1.0, 1.0, 2.718281828, 2.718281828]
        marks = [chance(one) for one in (0.9, 1.1, 1.4, 1.6)]
        known = {one: {SCORED[n]: Figure(m, WHOLE) for n, m in zip(names, marks, strict=True)}
                 for one in CATEGORIES}  # fmt: skip
        error = (4 * 0.1**2 / 2) ** 0.5
        found = fit(zip(names, prices, strict=True), known)
        assert found == dict.fromkeys(CATEGORIES, Line(round(1 - error, 3), 0.5))

    def test_never_less_for_more_money(self) -> None:
        names = sorted(SCORED)[:3]
        known = {one: {SCORED[n]: Figure(m, WHOLE)
                       for n, m in zip(names, (0.9, 0.8, 0.7), strict=True)}
                 for one in CATEGORIES}  # fmt: skip
        found = fit(zip(names, (1.0, 2.0, 4.0), strict=True), known)
        assert {line.slope for line in found.values()} == {0.0}

    def test_the_packages_own_are_those_of_the_table(self) -> None:
        pytest.importorskip("genai_prices")
        from tests.catalog.generate import lines

        assert lines() == LINES


class TestSources:
    def test_every_table_has_one(self) -> None:
        assert {file.stem for file in SCORES.glob("*.csv")} == set(SOURCES)

    @pytest.mark.parametrize("name", sorted(SOURCES))
    def test_a_table_says_each_model_once_in_percent(self, name: str) -> None:
        with (SCORES / f"{name}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert len({row["subject"] for row in rows}) == len({row["model"] for row in rows})
        assert len({row["model"] for row in rows}) == len(rows) > 3
        for row in rows:
            for column, figure in row.items():
                if column not in ("subject", "model", "pool"):
                    assert 0 <= float(figure) <= 100

    def test_two_states_of_one_table_agree(self) -> None:
        early, later = read("livebench_2026_06_25"), read("livebench_2026_06_25_later")
        both = early.keys() & later.keys()
        assert both
        assert all(early[one] == later[one] for one in both)

    def test_every_column_that_counts_is_there(self) -> None:
        rows = read("livebench_2026_06_25")
        there = set(next(iter(rows.values())))
        older = {"web_of_lies_v3"}
        for groups in COLUMNS.values():
            assert {one for group in groups for one in group} - older <= there
        for name, column in BESIDE.values():
            assert all(column in row for row in read(name).values())

    def test_who_is_named_was_scored_and_is_in_the_table(self) -> None:
        ids = {entry.id for entry in (*SEED, *OTHERS)}
        assert SCORED.keys() | BEFORE.keys() | LARGER.keys() <= ids
        scored = set().union(*KNOWN.values())
        assert set(SCORED.values()) | set(LARGER.values()) <= scored
        assert {one for earlier in BEFORE.values() for one in earlier} <= scored

    def test_the_newest_table_wins(self) -> None:
        _, tables = linked("code")
        assert tables["claude-sonnet-4-6"] == ("livebench_2026_06_25",)
        assert tables["claude-sonnet-4"] == ("livebench_2026_01_08",)
        assert tables["gpt-4.1"] == ("livebench_2025_05_30",)


def packaged(key: str) -> Model:
    model = load_packaged().pinned(key)
    assert model is not None
    return model


# Larger before smaller, later before earlier: what nobody would believe the other way round.
@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ("openai/gpt-4.1", "openai/gpt-4.1-mini"),
        ("openai/gpt-6.1-sol", "openai/gpt-6.1-terra"),
        ("openai/gpt-6.1-terra", "openai/gpt-6-luna"),
        ("openai/gpt-6-luna", "openai/gpt-4.1"),
        ("anthropic/claude-opus-5-5", "anthropic/claude-sonnet-5-5"),
        ("anthropic/claude-sonnet-5-5", "anthropic/claude-sonnet-4-6"),
        ("anthropic/claude-sonnet-4-6", "anthropic/claude-sonnet-4-20250514"),
        ("anthropic/claude-sonnet-4-20250514", "anthropic/claude-haiku-4-5"),
        ("google/gemini-4-argon", "google/gemini-3.8-flash"),
        ("google/gemini-3.8-flash", "google/gemini-3.5-flash"),
        ("google/gemini-4-argon", "google/gemini-3.1-pro-preview"),
        ("mistral/mistral-large-4", "mistral/mistral-large-2512"),
        ("groq/gpt-oss-120b", "groq/gpt-oss-20b"),
        ("together/glm-5.3", "together/glm-5.3-flash"),
        ("xai/grok-4.7", "xai/grok-4.3"),
        ("minimax/minimax-m3", "minimax/minimax-m2.7"),
    ],
)
def test_a_family_is_in_order(better: str, worse: str) -> None:
    more, less = packaged(better).quality, packaged(worse).quality
    assert sum(more) > sum(less)
    # A little apart in one category is what was measured.
    assert all(one > other - 0.03 for one, other in zip(more, less, strict=True))


def test_one_model_is_as_good_at_every_host() -> None:
    found: dict[str, set[tuple[float, ...]]] = {}
    for model in load_packaged().models:
        found.setdefault(model.id, set()).add(model.quality)
    assert {name for name, qualities in found.items() if len(qualities) > 1} == set()


def test_a_row_that_only_its_price_speaks_for_says_so() -> None:
    model = packaged("mistral/codestral-2508")
    assert model.quality_source == PRIOR
    assert model.quality == prior_at((3 * 0.3 + 0.9) / 4)

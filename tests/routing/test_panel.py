"""Evidence to expectations: what is known of a model, what is declared, and what is doubted."""

import pytest

from kproxy.routing.artefact import unpack
from kproxy.routing.cues import Cue
from kproxy.routing.panel import ModelRow, Panel
from kproxy.routing.table import (
    PEOPLE,
    Category,
    CategoryTable,
    Cell,
    MeasuredModel,
    Novelty,
    Pool,
)
from tests.fakes.answered import trained

SURE, NOTHING = 9.0, -9.0
SOUTH = [ModelRow("south/large"), ModelRow("south/small")]


@pytest.fixture
def table():
    return unpack(trained()).table


def evidence(table, name, strength=SURE):
    return [strength if one.name == name else NOTHING for one in table.categories]


def test_a_sure_category_is_its_row_of_the_table(table):
    found = Panel(table, SOUTH).judge(evidence(table, "verses"), None)
    cells = [model.cells["verses"] for model in table.pools[1].models]
    assert found.quality == pytest.approx([cell.quality for cell in cells], abs=0.01)
    assert found.output_tokens == pytest.approx([cell.output_tokens for cell in cells], abs=0.1)
    assert (found.category, found.nearest, found.novel) == ("creative", "verses", False)


def test_what_another_pool_knows_is_novel_to_this_one(table):
    sure = evidence(table, "capitals")
    assert Panel(table, SOUTH).judge(sure, None).novel
    assert not Panel(table, [ModelRow("north/wide")]).judge(sure, None).novel


def test_a_mixture_is_as_doubtful_as_its_most_doubtful_pool(table):
    sure = evidence(table, "capitals")
    assert Panel(table, [ModelRow("north/wide"), *SOUTH]).judge(sure, None).novel


def test_no_evidence_is_drawn_to_the_mean_of_the_categories(table):
    found = Panel(table, SOUTH).judge([NOTHING] * len(table.categories), None)
    assert found.novel
    assert found.novelty > 0.9
    cells = [one.quality for one in table.pools[1].models[1].cells.values()]
    assert min(cells) < found.quality[1] < max(cells)


def test_standing_does_not_depend_on_the_prompt(table):
    panel = Panel(table, SOUTH)
    one, other = (panel.judge(evidence(table, name), None) for name in ("sums", "verses"))
    assert one.standing == other.standing
    assert one.standing[0] > one.standing[1]


def test_a_new_model_enters_by_a_row(table):
    quality = tuple(0.9 if people == "creative" else 0.3 for people in PEOPLE)
    rows = [*SOUTH, ModelRow("newcomer", quality, (10.0,) * 6)]
    found = Panel(table, rows).judge(evidence(table, "verses"), None)
    assert found.quality[2] == pytest.approx(0.9, abs=0.05)
    assert found.output_tokens[2] == pytest.approx(10)
    assert found.standing[2] == pytest.approx(0.4)
    assert found.quality[:2] == Panel(table, SOUTH).judge(evidence(table, "verses"), None).quality


def test_a_model_that_nobody_describes_is_in_the_middle(table):
    found = Panel(table, [ModelRow("stranger")]).judge(evidence(table, "verses"), None)
    assert found.quality == pytest.approx([0.5])
    lengths = [model.cells["verses"].output_tokens for model in table.pools[1].models]
    assert found.output_tokens == pytest.approx([sum(lengths) / len(lengths)], abs=0.1)


def test_declared_models_differ_less_where_everybody_does_well():
    names = ("additions", "olympiads")
    pool = Pool(
        "north",
        dict.fromkeys(names, 100),
        tuple(
            MeasuredModel(id, 1.0, 1.0, {name: Cell(row[name], 50.0) for name in names})
            for id, row in (
                ("large", dict(zip(names, (0.95, 0.5), strict=True))),
                ("small", dict(zip(names, (0.9, 0.2), strict=True))),
            )
        ),
        (),
    )
    table = CategoryTable(
        tuple(Category(name, "reasoning", 0.0) for name in names),
        (pool,),
        Novelty(2.0, 1.0, 0.66, 1.0),
        {},
        1.0,
    )
    rows = [ModelRow("strong", (0.8,) * 6), ModelRow("weak", (0.6,) * 6)]
    easy, hard = (Panel(table, rows).judge(evidence(table, name), None) for name in names)
    assert easy.quality[0] - easy.quality[1] < 0.1
    assert hard.quality[0] - hard.quality[1] > 0.2
    assert easy.quality[1] > hard.quality[0]


def test_an_id_without_its_pool_is_found(table):
    sure = evidence(table, "sums")
    alone, named = (
        Panel(table, [ModelRow(one)]).judge(sure, None) for one in ("large", "south/large")
    )
    assert alone == named


def test_a_pool_alone_has_its_own_rates_and_a_mixture_the_careful_ones(table):
    north, south = table.pools
    sure = evidence(table, "counts+sums")
    assert Panel(table, SOUTH).judge(sure, None).rates == south.rates
    mixed = Panel(table, [ModelRow("stranger")]).judge(sure, None).rates
    for rate, one, other in zip(mixed, north.rates, south.rates, strict=True):
        assert rate.rate == min(one.rate, other.rate)


def test_a_cue_in_the_opening_says_what_is_asked_for(table):
    panel = Panel(table, [ModelRow("stranger")])
    found = panel.judge(evidence(table, "verses"), Cue("summarization", opening=True))
    assert found.category == "summarization"
    assert panel.judge(evidence(table, "verses"), Cue("code", opening=False)).category == "creative"


def test_a_cue_makes_a_declared_model_less_of_a_guess(table):
    nothing = [NOTHING] * len(table.categories)
    cue = Cue("summarization", opening=True)
    assert Panel(table, [ModelRow("stranger")]).judge(nothing, None).novel
    assert not Panel(table, [ModelRow("stranger")]).judge(nothing, cue).novel
    assert Panel(table, SOUTH).judge(nothing, cue).novel


@pytest.mark.parametrize(
    ("quality", "tokens"),
    [
        ((0.5,) * 5, ()),
        ((1.1,) * 6, ()),
        ((), (-1.0,) * 6),
        ((), (1.0,)),
        ((float("nan"),) * 6, ()),
    ],
)
def test_a_wrong_row_is_refused(quality, tokens):
    with pytest.raises(ValueError, match="newcomer"):
        ModelRow("newcomer", quality, tokens)


def test_a_prompt_of_one_category_alone_counts_its_cells_alone(table):
    sure = [50.0 * (one.name == "verses") for one in table.categories]
    rows = [ModelRow("stranger", (0.5,) * 6, (10.0, 20.0, 30.0, 40.0, 50.0, 60.0))]
    found = Panel(table, rows).judge(sure, None)
    assert found.output_tokens[0] == pytest.approx(10.0 * (1 + PEOPLE.index(found.category)))

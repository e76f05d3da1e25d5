"""The router in the package: what it says of prompts, and that no prompt can hurt it."""

import subprocess
import sys
import time
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.routing.dial import choose
from kproxy.routing.panel import ModelRow
from kproxy.routing.router import load
from kproxy.routing.table import PEOPLE
from tests.fakes.answered import trained
from tests.routing.test_features import ODD

DATA = (files("kproxy.routing") / "router.bin").read_bytes()
PACKAGED = load(DATA)
POOLS = {
    pool.name: tuple(ModelRow(f"{pool.name}/{model.id}") for model in pool.models)
    for pool in PACKAGED.table.pools
}
ASKED = {
    "reasoning": "Tom has 12 apples and buys 3 bags of 4 apples each. He gives half of them to his "
    "sister. How many apples does Tom have left?",
    "code": "def f(text):\n    return text.upper()[::-1]\nassert f('abc') == ??\nComplete it.",
    "summarization": "Summarize the following report in three sentences.",
    "extraction": "Extract all names and dates from this letter as JSON.",
    "creative": "Write a short story about a lighthouse.",
    "analysis": "Which philosopher argued that existence precedes essence?\nA. Kant\nB. Sartre",
}


@pytest.mark.parametrize("people", ASKED)
def test_each_of_the_six_categories_is_found(people):
    assert PACKAGED.judge(ASKED[people], [ModelRow("any")]).category == people


def test_known_prompts_save_and_novel_ones_do_not():
    models = POOLS["frontier24"]
    costs = [10.0 if "gpt-4o-2024-08-06" in one.id else 1.0 for one in models]
    known = PACKAGED.judge(ASKED["reasoning"], models)
    assert (known.novel, costs[choose(known, costs)]) == (False, 1.0)
    novel = PACKAGED.judge("The house of the Norwegian is next to the blue one. " * 9, models)
    assert (novel.novel, costs[choose(novel, costs)]) == (True, 10.0)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("name", ODD)
def test_an_odd_prompt_is_judged_in_bounded_time(name, pool):
    """The least of ten tries, since the machine may be busy; the limit is 2 ms."""
    taken = []
    for _ in range(10):
        start = time.perf_counter()
        found = PACKAGED.judge(ODD[name], POOLS[pool])
        taken.append(time.perf_counter() - start)
    assert min(taken) < 0.002
    assert all(0 <= one <= 1 for one in (*found.quality, found.confidence, found.novelty))
    assert found.category in PEOPLE
    assert all(one >= 0 for one in found.output_tokens)


@given(st.one_of(st.text(), st.binary(max_size=300)))
def test_nothing_raises_and_nothing_is_remembered(prompt):
    models = (*POOLS["open9"], ModelRow("newcomer", (0.9,) * 6))
    assert PACKAGED.judge(prompt, models) == PACKAGED.judge(prompt, list(models))


@pytest.mark.parametrize("people", ASKED)
def test_a_hostile_prompt_gets_no_more_than_its_category(people):
    """Words of a category repeated at will cannot push an expectation beyond the table's cells."""
    pool = next(one for one in PACKAGED.table.pools if one.name == "mmlupro")
    found = PACKAGED.judge(ASKED[people] * 50, POOLS["mmlupro"])
    for model, quality in zip(pool.models, found.quality, strict=True):
        cells = [cell.quality for cell in model.cells.values()]
        assert min(cells) <= quality <= max(cells)


@pytest.mark.parametrize("name", ["empty", "no UTF-8", "a script without spaces"])
def test_a_prompt_of_unknown_words_says_nothing_and_is_novel(name):
    assert set(PACKAGED.evidence(ODD[name])) == {0.0}
    assert all(PACKAGED.judge(ODD[name], models).novel for models in POOLS.values())


def test_rubbish_is_novel_though_it_has_known_letters():
    assert all(PACKAGED.judge(ODD["rubbish"], models).novel for models in POOLS.values())


def test_some_unknown_words_do_no_harm():
    prompt = ASKED["reasoning"].replace("Tom", "Zorblax")
    assert PACKAGED.judge(prompt, [ModelRow("any")]).category == "reasoning"
    assert not PACKAGED.judge(prompt, POOLS["frontier24"]).novel


def test_no_models_are_refused():
    with pytest.raises(ValueError, match="no models"):
        PACKAGED.judge("hello", [])


def test_many_panels_do_not_pile_up():
    router = load(trained())
    expected = router.judge("add apples", [ModelRow("0")])
    for number in range(200):
        router.judge("add apples", [ModelRow(str(number))])
    assert len(router._panels) <= 64
    assert router.judge("add apples", [ModelRow("0")]) == expected


def test_its_name_is_its_digest():
    assert repr(PACKAGED) == f"<Router {PACKAGED.version} 25 categories>"
    assert len(PACKAGED.version) == 12


def test_the_artefact_is_small():
    assert len(DATA) <= 5_000_000


WITHOUT_NUMPY = """
import sys
sys.modules["numpy"] = None  # an import of it raises
import kproxy.app
from importlib.resources import files
from kproxy.routing.panel import ModelRow
from kproxy.routing.router import load
found = load((files("kproxy.routing") / "router.bin").read_bytes())
print(found.judge("How many apples are left?", [ModelRow("any")]).category)
"""


def test_serving_and_judging_need_no_numpy():
    command = [sys.executable, "-c", WITHOUT_NUMPY]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("reasoning\n", "")

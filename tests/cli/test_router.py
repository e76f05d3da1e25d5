"""`kproxy router`: train, score, eval and table, as a user runs them."""

import gzip
import json
import sys

import pytest
from click.testing import CliRunner

from kproxy.cli.root import kproxy
from tests.fakes.answered import lines, pools_json, trained


@pytest.fixture
def given(tmp_path):
    """The files that a user has: data, pools, a trained artefact."""
    (tmp_path / "data.jsonl").write_bytes(lines())
    (tmp_path / "data.jsonl.gz").write_bytes(gzip.compress(lines()))
    (tmp_path / "pools.json").write_bytes(pools_json())
    (tmp_path / "router.bin").write_bytes(trained())
    return tmp_path


@pytest.fixture
def run(given):
    """Run a command; words that name a file of the user become its path."""

    def invoke(*words):
        named = [str(given / word) if "." in word and word[0] != "-" else word for word in words]
        return CliRunner().invoke(kproxy, ["router", *named])

    return invoke


@pytest.mark.parametrize("data", ["data.jsonl", "data.jsonl.gz"])
def test_train_writes_the_artefact(run, given, data):
    done = run("train", "--data", data, "--pools", "pools.json", "--out", "new.bin", "--json")
    assert done.exit_code == 0, done.output
    assert (given / "new.bin").read_bytes() == trained()
    said = json.loads(done.stdout)
    assert (said["bytes"], said["categories"]) == (len(trained()), 4)
    assert len(said["version"]) == 12


def test_score_prints_a_line_for_each_prompt(run):
    done = run("score", "--artefact", "router.bin", "--data", "data.jsonl")
    assert done.exit_code == 0, done.output
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["id"] for one in said] == [json.loads(one)["id"] for one in lines().splitlines()]
    assert all(list(one) == ["id", "quality", "choice", "novel"] for one in said)
    assert all(len(one["quality"]) == 2 and one["choice"] in (0, 1) for one in said)
    sums, verses = said[:60], said[60:120]
    assert sum(one["choice"] for one in sums) > 50
    assert sum(one["choice"] for one in verses) < 5


def test_score_needs_no_answers_and_no_labels(run, given):
    (given / "asked.jsonl").write_text('{"id": "a", "pool": "south", "prompt": ""}\n')
    done = run("score", "--artefact", "router.bin", "--data", "asked.jsonl")
    assert json.loads(done.stdout)["id"] == "a"


def test_score_uses_the_packaged_artefact(run, given):
    (given / "asked.jsonl").write_text('{"id": "a", "pool": "open9", "prompt": "why?"}\n')
    assert len(json.loads(run("score", "--data", "asked.jsonl").stdout)["quality"]) == 9


def test_eval_prints_the_measures(run):
    words = ("eval", "--artefact", "router.bin", "--data", "data.jsonl", "--pools", "pools.json")
    done = run(*words)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("pool")
    rows = json.loads(run(*words, "--json").stdout)
    assert {row["policy"] for row in rows if row["pool"] == "south"} >= {"router", "zero router"}


def test_the_table_is_printed_edited_and_applied(run, given):
    shown = run("table", "--artefact", "router.bin")
    assert "verses (60)" in shown.stdout
    table = json.loads(run("table", "--artefact", "router.bin", "--json").stdout)
    table["pools"][1]["models"][1]["cells"]["verses"]["quality"] = 1.0
    (given / "edited.json").write_text(json.dumps(table))
    done = run("table", "--artefact", "router.bin", "--apply", "edited.json", "--out", "new.bin")
    assert done.exit_code == 0, done.output
    said = run("score", "--artefact", "new.bin", "--data", "data.jsonl").stdout.splitlines()
    chosen = [json.loads(line)["choice"] for line in said[60:120]]
    assert sum(chosen) > 50


def test_other_categories_are_refused(run, given):
    table = json.loads(run("table", "--artefact", "router.bin", "--json").stdout)
    table["categories"].reverse()
    (given / "edited.json").write_text(json.dumps(table))
    done = run("table", "--artefact", "router.bin", "--apply", "edited.json", "--out", "new.bin")
    assert (done.exit_code, (given / "new.bin").exists()) == (1, False)
    assert "the same categories" in done.stderr


BAD = {
    "no artefact": (("score", "--artefact", "pools.json", "--data", "data.jsonl"), "not a kproxy"),
    "no data": (("score", "--artefact", "router.bin", "--data", "pools.json"), "line 1"),
    "not compressed": (("score", "--artefact", "router.bin", "--data", "plain.gz"), "plain.gz"),
    "another pool": (("score", "--data", "data.jsonl"), "no pool south"),
    "no list": (("train", "--data", "data.jsonl", "--pools", "data.jsonl", "--out", "n.b"), "list"),
    "no place": (
        ("train", "--data", "data.jsonl", "--pools", "pools.json", "--out", "no/dir/n.b"),
        "No such file",
    ),
    "no table": (
        ("table", "--artefact", "router.bin", "--apply", "data.jsonl", "--out", "n.b"),
        "data.jsonl",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_status_1(run, given, name):
    (given / "plain.gz").write_bytes(lines())
    words, said = BAD[name]
    done = run(*words)
    assert done.exit_code == 1, done.output
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_edit_needs_a_place(run):
    done = run("table", "--artefact", "router.bin", "--apply", "pools.json")
    assert (done.exit_code, "belong together" in done.stderr) == (2, True)


def test_without_numpy_it_says_what_to_install(run, monkeypatch):
    for name in [one for one in sys.modules if one.startswith("kproxy.routing.learning.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "numpy", None)
    done = run("train", "--data", "data.jsonl", "--pools", "pools.json", "--out", "new.bin")
    assert (done.exit_code, "pip install 'kproxy[train]'" in done.stderr) == (1, True)

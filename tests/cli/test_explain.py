"""`kproxy explain`: one screen for people, the whole decision for programs, a refusal in a line."""

import json

import pytest
from click.testing import CliRunner

from kproxy.cli.root import kproxy

CONFIG = """\
[providers.acme]
base_url = "http://127.0.0.1:9000/v1"
[[models]]
id = "small"
provider = "acme"
price = { input = 1, output = 1 }
quality = 0.7
[[models]]
id = "large"
provider = "acme"
price = { input = 9, output = 9 }
quality = 0.7
capabilities = ["tools"]
"""


@pytest.fixture
def run(tmp_path):
    def invoke(*flags, config=CONFIG, **fields):
        file = tmp_path / "kproxy.toml"
        file.write_text(config)
        body = {
            "model": "auto",
            "messages": [{"role": "user", "content": "Summarize this article."}],
            **fields,
        }
        command = ["explain", "--config", str(file), *flags]
        environ = {"KPROXY_DATA_DIR": str(tmp_path / "data")}
        return CliRunner().invoke(kproxy, command, input=json.dumps(body), env=environ)

    return invoke


def test_a_screen(run, tmp_path):
    result = run(response_format={"type": "json_object"})
    assert result.exit_code == 0, result.output
    assert "category: summarization" in result.stdout
    assert "decision: acme/small, single" in result.stdout
    assert "behind:   nobody else" in result.stdout
    line = next(line for line in result.stdout.splitlines() if line.startswith("acme/large"))
    assert "response_format" in line
    assert "the model has no JSON mode" in line
    assert not (tmp_path / "data").exists()


def test_the_whole(run):
    found = json.loads(run("--json").stdout)
    assert found["classification"]["category"] == "summarization"
    assert found["chain"] == ["acme/small", "acme/large"]
    assert {one["model_id"] for one in found["candidates"]} == {"small", "large"}
    assert found["policy_version"].startswith("2-")


def test_a_comparison(run):
    """All of them are the decision; what one is not asked for stays out."""
    found = json.loads(run("--json", model="kr-compare", models=["large", "small"]).stdout)
    assert (found["strategy"], found["chain"]) == ("compare", ["acme/large", "acme/small"])
    screen = run(model="kr-compare", models=["small", "large"]).stdout
    assert "decision: acme/small, compare" in screen
    assert "behind:   acme/large" in screen
    assert run(model="kr-compare", models=["small"]).exit_code == 1


def test_the_dial_of_the_file_is_checked(run):
    result = run(config='[routing]\ndial = "cheapest"\n' + CONFIG)
    assert result.exit_code == 1
    assert "routing.dial" in result.output


def test_plugins_are_taken_as_if_they_added_nothing(run):
    assert run(plugins=["code-exec"]).exit_code == 0
    assert run(plugins=["nope"]).exit_code == 1


def test_a_refusal(run):
    result = run(zdr=True)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "zdr" in result.stderr
    assert run(temperature=9).exit_code == 1


def test_what_a_provider_has_no_words_for(run):
    claude = """\
[providers.claude]
base_url = "http://127.0.0.1:9001/v1"
dialect = "anthropic"
[[models]]
id = "third"
provider = "claude"
price = { input = 1, output = 1 }
quality = 0.7
"""
    found = json.loads(run("--json", config=CONFIG + claude, n=2).stdout)
    out = {one["model_id"]: one["filtered_out_by"] for one in found["candidates"]}
    assert out == {"small": None, "large": None, "third": "unsupported_parameter"}

"""`kproxy sim`: bad options are refused before anything listens."""

import pytest
from click.testing import CliRunner

from kproxy.cli.root import kproxy


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--listen", "x"], 1, "--listen: not an address"),
        (["--listen", "unix:/x"], 1, "--listen: the simulated providers listen on HOST:PORT alone"),
        (["--token-ms", "-1"], 2, "token_ms: between 0"),
        (["--first-token-ms", "nan"], 2, "first_token_ms: between 0"),
        (["--seed", "x"], 2, "not a valid integer"),
        (["--jitter", "9"], 2, "jitter: between 0 and 5"),
        (["--tail", "20"], 2, "tail: like"),
        (["--tokens", "none"], 2, "tokens: like"),
        (["--fault", "cut=40", "--fault", "gpt-4.1!nonsense"], 2, "unknown fault 'nonsense'"),
    ],
)
def test_refusals(arguments, status, message):
    result = CliRunner().invoke(kproxy, ["sim", *arguments], env={"KPROXY_CONFIG": ""})
    assert (result.exit_code, result.stdout) == (status, "")
    assert message in result.stderr


def test_flags_come_before_the_file(monkeypatch, tmp_path):
    file = tmp_path / "kproxy.toml"
    file.write_text('[sim]\nseed = 3\ntokens = "7"\nfaults = ["503"]\n', encoding="utf-8")
    runs = []
    monkeypatch.setattr("kproxy.sim.serve.run", lambda *given: runs.append(given))
    options = ["--config", str(file), "--listen", "127.0.0.1:0", "--seed", "4", "--tail", "20x10"]
    result = CliRunner().invoke(kproxy, ["sim", *options, "--fault", "m!cut"])
    assert (result.exit_code, result.output) == (0, "")
    [(host, port, params, _)] = runs
    assert (host, port) == ("127.0.0.1", 0)
    assert (params.seed, params.tokens, params.tail) == (4, "7", "20x10")
    assert params.faults == ("m!cut",)


@pytest.mark.parametrize(
    ("options", "output"),
    [
        ([], "Simulated providers at http://127.0.0.1:9/v1\n"),
        (["--json"], '{"base_url":"http://127.0.0.1:9/v1","host":"127.0.0.1","port":9}\n'),
    ],
)
def test_what_is_printed_when_it_listens(monkeypatch, options, output):
    def run(host, port, params, announce):
        announce((host, 9))

    monkeypatch.setattr("kproxy.sim.serve.run", run)
    result = CliRunner().invoke(kproxy, ["sim", *options], env={"KPROXY_CONFIG": ""})
    assert (result.exit_code, result.output) == (0, output)

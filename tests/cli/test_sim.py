"""`kproxy sim`: bad options are refused before anything listens."""

import pytest
from click.testing import CliRunner

from kproxy.cli.root import kproxy


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--listen", "x"], 1, "--listen: not an address"),
        (["--token-ms", "-1"], 2, "token_ms: between 0"),
        (["--first-token-ms", "nan"], 2, "first_token_ms: between 0"),
        (["--seed", "x"], 2, "not a valid integer"),
    ],
)
def test_refusals(arguments, status, message):
    result = CliRunner().invoke(kproxy, ["sim", *arguments], env={"KPROXY_CONFIG": ""})
    assert (result.exit_code, result.stdout) == (status, "")
    assert message in result.stderr

"""The group: what it lists, what it costs to ask, and how a refusal looks."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from kproxy import __version__
from kproxy.cli.root import Commands, kproxy
from kproxy.errors import KproxyError


def test_version_and_help():
    assert CliRunner().invoke(kproxy, ["--version"]).output == f"kproxy {__version__}\n"
    output = CliRunner().invoke(kproxy, ["--help"]).output
    for name in ("serve", "sim", "keys", "accounts", "check", "usage"):
        assert f"\n  {name} " in output


@pytest.mark.parametrize("name", ["serve", "sim", "keys", "accounts", "check", "router", "usage"])
def test_each_command_is_found_under_its_name(name):
    result = CliRunner().invoke(kproxy, [name, "--help"])
    assert result.exit_code == 0
    assert f"Usage: kproxy {name}" in result.output


def test_wrong_use_is_status_2():
    for arguments in (["nonsense"], ["--nonsense"], ["serve", "--nonsense"]):
        assert CliRunner().invoke(kproxy, arguments).exit_code == 2


def group_that_raises(error):
    group = Commands("kproxy")

    @click.command()
    def refuse():
        raise error

    group.get_command = lambda ctx, name: refuse
    return group


def test_a_refusal_is_one_line_and_status_1():
    for error in (
        KproxyError("no\nway"),
        ExceptionGroup("a nursery", [ExceptionGroup("inside", [KproxyError("no way")])]),
    ):
        result = CliRunner().invoke(group_that_raises(error), ["refuse"])
        assert result.exit_code == 1
        assert result.stderr == "Error: no way\n"


def test_a_bug_is_not_a_refusal():
    for error in (
        RuntimeError("bug"),
        ExceptionGroup("a nursery", [KproxyError("no way"), RuntimeError("bug")]),
    ):
        result = CliRunner().invoke(group_that_raises(error), ["refuse"])
        assert result.exception is error


_LOADED = """
import sys
from kproxy.cli.root import kproxy
try:
    kproxy(sys.argv[1:], prog_name="kproxy")
except SystemExit:
    pass
heavy = {"trio", "httpcore", "h11", "kproxy.app"} & set(sys.modules)
sys.exit(f"loaded: {heavy}" if heavy else 0)
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["--help"],
        ["keys", "create", "--account", "a", "--tier", "team", "--json"],
        ["serve", "--help"],
        ["check"],
    ],
)
def test_only_serving_loads_the_server(arguments, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", _LOADED, *arguments],
        env={"KPROXY_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")

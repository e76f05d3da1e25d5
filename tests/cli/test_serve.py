"""`kproxy serve`: options reach the configuration; a bad one starts nothing."""

from click.testing import CliRunner

from kproxy.cli.root import kproxy


def test_a_bad_configuration_is_one_line_and_starts_nothing(tmp_path):
    file = tmp_path / "kproxy.toml"
    file.write_text("[limits]\nbody = 0\n")
    data = tmp_path / "data"
    result = CliRunner().invoke(kproxy, ["serve", "--config", str(file), "--data-dir", str(data)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"Error: {file}:2: limits.body: expected `int` >= 1\n"
    assert not data.exists()


def test_a_bad_address_is_named_after_its_flag():
    result = CliRunner().invoke(kproxy, ["serve", "--listen", "127.0.0.1:1", "--listen", "x"])
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: --listen: not an address")


def test_workers_are_counted():
    result = CliRunner().invoke(kproxy, ["serve", "--workers", "0"])
    assert result.exit_code == 2
    assert "0 is not in the range 1<=x<=32" in result.stderr

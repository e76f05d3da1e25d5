"""Whole files: precedence, the wrong line, and secrets that stay secret."""

import logging
import pathlib
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.config import Address, ConfigError, Overrides, find_data_dir, load

HOME = {"HOME": "/srv/op"}
CANARY = "sk-canary-canary"

CONTRACT = """\
listen = ["127.0.0.1:4000"]

[providers.acme]                       # the slug
dialect = "openai"
base_url = "http://127.0.0.1:9000/v1"
api_key = "${env:ACME_API_KEY}"
models = "any"

[[models]]
id = "gpt-4.1"
provider = "acme"
upstream = "gpt-4.1-2025-04-14"
price = { input = 2.00, output = 8.00 }

[[models]]
id = "small"
provider = "acme"
"""


@pytest.fixture
def written(tmp_path):
    def write(text):
        file = tmp_path / "kproxy.toml"
        file.write_text(text)
        return file

    return write


def loaded(file, environ=None, **flags):
    return load(Overrides(config=file, **flags), HOME | (environ or {}))


def places(config):
    return [one.place for one in config.listeners]


def refused(file, environ=None, **flags):
    with pytest.raises(ConfigError) as caught:
        loaded(file, environ, **flags)
    assert "\n" not in str(caught.value)
    assert "canary" not in repr(caught.value) + str(caught.value)
    return caught.value


def test_nothing_configured_works_at_once():
    config = load(Overrides(), HOME)
    assert places(config) == [Address("127.0.0.1", 4000)]
    assert str(config.data_dir) == "/srv/op/.local/state/kproxy"
    assert {provider.dialect for provider in config.providers.values()} == {"sim"}
    assert (config.models, config.source, config.reference_model) == ((), None, "gpt-4.1")


def test_the_contracts_example(written):
    file = written(CONTRACT)
    config = loaded(file, {"ACME_API_KEY": CANARY})
    assert list(config.providers) == ["acme"]
    acme = config.providers["acme"]
    assert (acme.base_url, acme.models) == ("http://127.0.0.1:9000/v1", "any")
    assert acme.api_key.reveal() == CANARY
    first, second = config.models
    assert (first.id, first.provider, first.upstream) == ("gpt-4.1", "acme", "gpt-4.1-2025-04-14")
    assert (first.price.input, first.price.output, first.enabled) == (2.0, 8.0, True)
    assert (second.upstream, second.price) == ("small", None)
    assert config.source == file


def test_a_configuration_prints_without_its_secrets(written, caplog):
    config = loaded(written(CONTRACT), {"ACME_API_KEY": CANARY})
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("kproxy.test").warning("%s %r", config, config.providers)
    assert "***" in caplog.text
    assert "canary" not in caplog.text + repr(config) + str(config) + f"{config.providers['acme']}"


def test_a_secret_may_come_from_a_file_beside_the_configuration(written, tmp_path):
    (tmp_path / "acme.key").write_text(f"{CANARY}\n")
    file = written('[providers.acme]\nbase_url = "http://h"\napi_key = "${file:acme.key}"\n')
    assert loaded(file).providers["acme"].api_key.reveal() == CANARY


def test_a_file_with_providers_ignores_keys_that_lie_about(written):
    file = written('[providers.acme]\nbase_url = "http://h"\n')
    assert list(loaded(file, {"OPENAI_API_KEY": CANARY}).providers) == ["acme"]


def test_a_file_without_providers_takes_them_from_the_environment(written):
    file = written("drain_timeout = 1\n")
    assert list(loaded(file, {"OPENAI_API_KEY": CANARY}).providers) == ["openai"]
    assert len(loaded(file).providers) == 5


@pytest.mark.parametrize(
    ("text", "line", "path", "reason"),
    [
        ("a = 1\nb =\n", 2, None, "Invalid value"),
        ("\nlisten = 1\n", 2, "listen", "expected `array`, got `int`"),
        ('listen = ["a:1",\n "x"]\n', 1, "listen[1]", "not an address"),
        ("listen = []\n", 1, "listen", "at least one"),
        ('listen = ["a:1", "a:1"]\n', 1, "listen[1]", "a:1 is listed twice"),
        ('listen = ["unix:"]\n', 1, "listen[0]", "not a path: write unix:/run/kproxy/kproxy.sock"),
        ("x = 1\nport = 1\n", 1, "x", "unknown key"),
        ("\nledger = 'slow'\n", 2, "ledger", 'must be "fast" or "strict"'),
        ("[limits]\n\nbody = -1\n", 3, "limits.body", "expected `int` >= 1"),
        ("[limits]\nbody = nan\n", 2, "limits.body", "not a finite number"),
        ("[limits]\nbodies = 1\n", 2, "limits.bodies", "unknown key"),
        ("[limits.http2]\nwindow = 65534\n", 2, "limits.http2.window", "expected `int` >= 65535"),
        ("[limits]\nhttp2 = { pings = 0 }\n", 2, "limits.http2.pings", "expected `int` >= 1"),
        ("[limits.http2]\nping = 1\n", 2, "limits.http2.ping", "unknown key"),
        ("[timeouts]\ngap = 0\n", 2, "timeouts.gap", "expected `float` > 0"),
        ("[timeouts]\ngap = '60s'\n", 2, "timeouts.gap", "expected `float`, got `str`"),
        ("[sim]\ntail = 'x'\n", 2, "sim.tail", "like"),
        ("[sim]\njitter = -1\n", 2, "sim.jitter", "between 0"),
        ("[sim]\nspeed = -1\n", 2, "sim.speed", "unknown key"),
        ("providers = 1\n", 1, "providers", "must be written as [providers.NAME]"),
        ("[models]\nid = 'a'\n", 1, "models", "must be written as [[models]]"),
        ("[providers.a]\nbase_uri = 'x'\n", 2, "providers.a.base_uri", "unknown key"),
        ("[providers.a]\n\n", 1, "providers.a", "base_url is missing"),
        ("[providers]\na = 1\n", 2, "providers.a", "expected `table`, got `int`"),
        ("[providers.a]\nbase_url='x:y'\n", 2, "providers.a.base_url", "must start with http"),
        ("[providers.a]\nbase_url='http://h'\napi_key=1\n", 3, "providers.a.api_key", "expected"),
        (
            "[providers.a]\nbase_url='http://h'\napi_key='a canary'\n",
            3,
            "providers.a.api_key",
            "not a key",
        ),
        (
            "[providers.a]\nbase_url='http://h'\napi_key='${env:NONE}'\n",
            3,
            "providers.a.api_key",
            "the environment variable NONE is not set",
        ),
        ("[providers.a]\ndialect='canary'\n", 2, "providers.a.dialect", "must be"),
        ('[providers."A.b"]\n', 1, 'providers."A.b"', "lower-case"),
        ("[[models]]\nid='m'\n", 1, "models[0]", "provider is missing"),
        (
            "[[models]]\nid='m'\nprovider='acme'\n",
            3,
            "models[0].provider",
            'there is no provider "acme"; there are openai, anthropic,',
        ),
        (
            "[[models]]\nid='m'\nprovider='xai'\n[[models]]\nid='m'\nprovider='xai'\n",
            5,
            "models[1].id",
            '"m" at "xai" is listed twice',
        ),
        (
            "[[models]]\nid='m'\nprovider='xai'\nprice = { input = -1, output = 1 }\n",
            4,
            "models[0].price.input",
            "not an amount",
        ),
        (
            "[[models]]\nid='m'\nprovider='xai'\n[models.price]\ninput = 1\noutput = '1'\n",
            6,
            "models[0].price.output",
            "expected `int | float`, got `str`",
        ),
        (
            "[[models]]\nid='m'\nprovider='xai'\ncapabilities = ['tools', 'magic']\n",
            4,
            "models[0].capabilities",
            "there are json, tools, vision",
        ),
        (
            "[catalog]\n\nfile = 'none.json'\n",
            3,
            "catalog.file",
            "cannot be read: No such file or directory",
        ),
        ("[catalog]\nfile = ''\n", 2, "catalog.file", "cannot be read: Is a directory"),
        (
            "[catalog]\nfile = 'kproxy.toml'\n",
            2,
            "catalog.file",
            "not a catalog: ",
        ),
        ('[catalog]\nfile = "\\u0000"\n', 2, "catalog.file", "null byte"),
        ("[catalog]\nfiles = 'x'\n", 2, "catalog.files", "unknown key"),
        ("[[models]]\nid='m'\nprovider='xai'\nprefill = 1\n", 4, "models[0].prefill", "expected"),
        ("data_dir = ''\n", 1, "data_dir", "not the name of a directory"),
        ("drain_timeout = -1\n", 1, "drain_timeout", "expected `float` >= 0"),
    ],
)
def test_the_wrong_line_is_named(written, text, line, path, reason):
    file = written(text)
    error = refused(file)
    assert (error.line, error.path) == (line, path)
    assert reason in error.reason
    assert str(error).startswith(f"{file}:{line}: ")


def test_a_wrong_row_of_the_operators_own_catalog_is_named(written, tmp_path):
    (tmp_path / "own.json").write_text('{"version":1,"providers":[{"slug":"acme"}],"models":[]}')
    error = refused(written('[catalog]\nfile = "own.json"\n'))
    assert error.line == 2
    assert error.reason == "providers[0] (acme): Object missing required field `display`"


def test_problems_of_flags_and_variables_are_named_after_them(written):
    file = written("drain_timeout = 1\n")
    assert str(refused(file, listen=("x",))).startswith("--listen: not an address")
    assert str(refused(file, {"KPROXY_LISTEN": "a:1,b"})).startswith("KPROXY_LISTEN: not an")
    assert str(refused(file, {"PORT": "x"})) == "PORT: not a port: 0 to 65535"
    assert str(refused(file, {"OPENAI_API_KEY": "a canary"})).startswith("OPENAI_API_KEY: not a")


def test_flags_before_environment_before_file_before_defaults(written):
    file = written('listen = ["127.0.0.1:1", "[::1]:1"]\n')
    everything = {"KPROXY_LISTEN": "127.0.0.1:3, [::1]:3", "PORT": "2"}

    def ports(config):
        return [(address.host, address.port) for address in places(config)]

    assert ports(loaded(file, everything, listen=("a:4", "b:5"))) == [("a", 4), ("b", 5)]
    assert ports(loaded(file, everything)) == [("127.0.0.1", 3), ("::1", 3)]
    assert ports(loaded(file, {"PORT": "2"})) == [("127.0.0.1", 2), ("::1", 2)]
    assert ports(loaded(file)) == [("127.0.0.1", 1), ("::1", 1)]
    assert ports(load(Overrides(), HOME)) == [("127.0.0.1", 4000)]
    assert ports(load(Overrides(), HOME | {"PORT": "2"})) == [("127.0.0.1", 2)]


def test_port_makes_one_address_of_two_that_differ_in_the_port_alone(written):
    file = written('listen = ["127.0.0.1:1", "127.0.0.1:2"]\n')
    assert places(loaded(file, {"PORT": "3"})) == [Address("127.0.0.1", 3)]


def test_any_free_port_may_be_asked_for_twice():
    assert len(places(load(Overrides(listen=("127.0.0.1:0", "127.0.0.1:0")), HOME))) == 2


def test_the_file_is_named_by_a_flag_before_the_environment(written, tmp_path):
    file = written("drain_timeout = 1\n")
    other = tmp_path / "other.toml"
    other.write_text("drain_timeout = 2\n")
    environ = HOME | {"KPROXY_CONFIG": str(other)}
    assert load(Overrides(), environ).drain_timeout == 2
    assert load(Overrides(config=file), environ).drain_timeout == 1
    assert load(Overrides(), HOME | {"KPROXY_CONFIG": ""}).source is None
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read"):
        load(Overrides(), HOME | {"KPROXY_CONFIG": str(tmp_path / "none.toml")})


@pytest.mark.parametrize("find", [find_data_dir, lambda *given: load(*given).data_dir])
def test_where_data_is_kept(written, tmp_path, find):
    file = written('data_dir = "state"\n')
    environ = HOME | {"KPROXY_DATA_DIR": "/env"}
    flag = Overrides(config=file, data_dir=pathlib.Path("/flag"))
    assert str(find(flag, environ)) == "/flag"
    assert str(find(Overrides(config=file), environ)) == "/env"
    assert find(Overrides(config=file), HOME) == tmp_path / "state"
    assert str(find(Overrides(), HOME)) == "/srv/op/.local/state/kproxy"
    assert str(find(Overrides(), HOME | {"XDG_STATE_HOME": "/x"})) == "/x/kproxy"
    # The XDG specification: a relative path is invalid and ignored.
    relative = HOME | {"XDG_STATE_HOME": "x"}
    assert str(find(Overrides(), relative)) == "/srv/op/.local/state/kproxy"
    written('data_dir = "~/kproxy"\n')
    assert str(find(Overrides(config=file), HOME)) == "/srv/op/kproxy"
    written('data_dir = "${env:WHERE}/kproxy"\n')
    assert str(find(Overrides(config=file), HOME | {"WHERE": "/w"})) == "/w/kproxy"
    with pytest.raises(ConfigError, match=r"kproxy\.toml:1: data_dir: .*WHERE is not set"):
        find(Overrides(config=file), HOME)
    written("data_dir = 1\n")
    with pytest.raises(ConfigError, match=r"kproxy\.toml:1: data_dir: expected `str`, got `int`"):
        find(Overrides(config=file), HOME)
    with pytest.raises(ConfigError, match="HOME is not set"):
        find(Overrides(), {})


def test_the_data_directory_is_found_without_the_providers_secrets(written):
    file = written('data_dir = "/d"\n' + CONTRACT)
    assert str(find_data_dir(Overrides(config=file), HOME)) == "/d"
    with pytest.raises(ConfigError, match="ACME_API_KEY is not set"):
        loaded(file)


def test_total_bounds_the_timers_below_it(written):
    timeouts = loaded(written("[timeouts]\ntotal = 3\nconnect = 9\n")).timeouts
    assert (timeouts.connect, timeouts.first_token, timeouts.gap, timeouts.total) == (3, 3, 3, 3)
    assert (timeouts.heartbeat, timeouts.head) == (15, 10)


def test_the_ledger_is_fast_or_strict(written):
    assert not loaded(written("ledger = 'fast'\n")).strict_ledger
    assert loaded(written("ledger = 'strict'\n")).strict_ledger


def test_the_sim_table_becomes_the_params_of_the_simulated_providers(written):
    sim = loaded(written("[sim]\nseed = 7\ntoken_ms = 0\n")).sim
    assert (sim.seed, sim.token_ms) == (7, 0)


@given(st.data())
def test_whatever_happens_to_a_file_the_answer_is_a_configuration_or_one_line(data):
    lines = f"{CONTRACT}[limits]\nbody = 1\n[sim]\nfaults = []\n".split("\n")
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(lines) - 1))
        cut = data.draw(st.integers(0, len(lines[at])))
        lines[at] = lines[at][:cut] + data.draw(st.text(max_size=4)) + lines[at][cut + 1 :]
    with tempfile.TemporaryDirectory() as directory:
        file = pathlib.Path(directory) / "kproxy.toml"
        file.write_text("\n".join(lines), "utf-8")
        said = ""
        try:
            loaded(file, {"ACME_API_KEY": CANARY})
        except ConfigError as error:
            said = str(error)
    assert CANARY not in said


def test_workers(written):
    assert load(Overrides(), HOME).workers == 1
    file = written("workers = 3\n")
    assert loaded(file).workers == 3
    assert loaded(file, workers=2).workers == 2
    for wrong, reason in (("0", ">= 1"), ("33", "<= 32")):
        problem = refused(written(f"workers = {wrong}\n"))
        assert (problem.path, problem.reason) == ("workers", f"expected `int` {reason}")


def test_where_the_access_log_goes(written, tmp_path):
    def sink(text):
        return load(Overrides(config=written(text)), HOME).access_log

    assert sink("") is None
    assert sink('[log]\naccess = "-"\n') == "-"
    assert sink('[log]\naccess = "a/log"\n') == str(tmp_path / "a" / "log")
    assert sink('[log]\naccess = "~/log"\n') == "/srv/op/log"
    with pytest.raises(ConfigError, match=r":2: log.access: not the name of a file"):
        sink('[log]\naccess = " "\n')

"""`kproxy check`: a summary, or the wrong line."""

import json
import re

import pytest
import trustme
from click.testing import CliRunner

from kproxy.cli.root import kproxy
from tests.fakes.tls import write_files

CANARY = "sk-canary"
NOTHING = dict.fromkeys(
    ("KPROXY_CONFIG", "KPROXY_LISTEN", "PORT", "OPENAI_API_KEY", "OPENAI_BASE_URL", "SSL_CERT_FILE")
)


@pytest.fixture
def run(tmp_path):
    def invoke(text, *flags, **environ):
        file = tmp_path / "kproxy.toml"
        file.write_text(text)
        return CliRunner().invoke(
            kproxy,
            ["check", "--config", str(file), *flags],
            env=NOTHING | {"KPROXY_DATA_DIR": "/data"} | environ,
        )

    return invoke


GOOD = """\
[providers.acme]
base_url = "http://127.0.0.1:9000/v1"
api_key = "${env:ACME_API_KEY}"
[providers.played]
dialect = "sim"
[[models]]
id = "m"
provider = "acme"
"""


def test_a_good_file(run, tmp_path):
    result = run(GOOD, ACME_API_KEY=CANARY)
    assert result.exit_code == 0
    version = re.findall("router ([0-9a-f]{12}),", result.stdout)[0]
    assert result.stdout == (
        f"file:      {tmp_path}/kproxy.toml\n"
        "listen:    127.0.0.1:4000\n"
        "data dir:  /data\n"
        "providers: acme (http://127.0.0.1:9000/v1), played (simulated)\n"
        "models:    acme/m\n"
        "quality:   1 unknown\n"
        f"routing:   dial balanced, router {version}, acme/m has no price\n"
        "plugins:   pdf-reader (on), code-exec (tier monty), memory (on)\n"
        "healing:   checked by schema\n"
    )
    assert not (tmp_path / "data").exists()
    found = json.loads(run(GOOD, "--json", ACME_API_KEY=CANARY).stdout)
    assert (found["ok"], found["models"], found["listen"]) == (True, ["acme/m"], ["127.0.0.1:4000"])
    assert "canary" not in result.output + json.dumps(found)


def test_what_speaks_for_the_qualities(run):
    def rows(*extras):
        numbered = enumerate(extras)
        return "".join(
            f'[[models]]\nid = "m{n}"\nprovider = "acme"\n{extra}\n' for n, extra in numbered
        )

    priced = "price = { input = 1, output = 2 }"
    text = GOOD + rows("quality = 1", priced, priced, f"{priced}\nenabled = false")
    found = json.loads(run(text, "--json", ACME_API_KEY=CANARY).stdout)
    assert found["quality"] == ["1 unknown", "1 the operator's", "2 by list price"]
    text = '[providers.mistral]\nbase_url = "http://h/v1"\n'
    found = json.loads(run(text, "--json").stdout)
    assert sorted(found["quality"]) == ["1 by list price", "4 partly by published scores"]
    text = '[providers.openai]\napi_key = "k"\n'
    found = json.loads(run(text, "--json").stdout)
    assert found["quality"] == ["6 by published scores"]


def test_a_bad_file(run, tmp_path):
    result = run("listen = 1\n")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"Error: {tmp_path}/kproxy.toml:1: listen: expected `array`, got `int`\n"
    )
    result = run("\nlisten = 1\n", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "ok": False,
        "error": "expected `array`, got `int`",
        "file": f"{tmp_path}/kproxy.toml",
        "line": 2,
        "path": "listen",
    }


def test_a_secret_in_the_wrong_place_is_not_repeated(run):
    for text in (
        f'[providers.acme]\ndialect = "{CANARY}"\n',
        f'[providers.acme]\nbase_url = "{CANARY}"\n',
        f'[providers.acme]\nbase_url = "http://{CANARY}@h"\n',
        f'[providers.acme]\nbase_url = "http://h"\napi_key = "{CANARY} x"\n',
        f'[providers.acme]\nbase_url = "http://h"\nzdr = "{CANARY}"\n',
        f'[providers.acme]\nbase_url = "http://h"\nmodels = "{CANARY}"\n',
        f'listen = ["{CANARY}"]\n',
        f'[limits]\nbody = "{CANARY}"\n',
    ):
        result = run(text)
        assert result.exit_code == 1
        assert "canary" not in result.output


def test_tiers_that_differ_from_the_contracts_are_shown(run):
    result = run(GOOD + "[tiers.lab]\npaid = true\n", "--json", ACME_API_KEY=CANARY)
    assert json.loads(result.stdout)["tiers"] == ["lab (no limits; paid)"]


def test_nothing_configured_is_good():
    result = CliRunner().invoke(kproxy, ["check"], env=NOTHING | {"HOME": "/srv/op"})
    assert result.exit_code == 0
    assert "file:      none\n" in result.stdout
    assert "openai (" in result.stdout


def test_a_configuration_without_any_model_says_so(run):
    result = run('[providers.acme]\nbase_url = "http://h/v1"\n')
    assert result.exit_code == 0
    assert (
        'models:    none: add [[models]] rows, or models = "any" to a provider\n' in result.stdout
    )
    result = run('[providers.acme]\nbase_url = "http://h/v1"\nmodels = "any"\n')
    assert "models:    acme/<any name>\n" in result.stdout


def test_rules_are_told_and_a_bad_one_is_named(run):
    rule = '[[guardrails.rules]]\nname = "ours"\naction = "block"\npattern = '
    assert "guardrails: ours (block request and response)\n" in run(rule + '"secret"\n').stdout
    result = run(rule + '"(secret"\n')
    assert (result.exit_code, result.stdout) == (1, "")
    assert 'kproxy.toml:4: guardrails.rules[0].pattern: rule "ours": missing )' in result.output


def test_where_spans_go_is_told(run):
    table = "[telemetry.otel]\nratio = 0.1\nheaders.api-key = "
    result = run(f'{table}"{CANARY}"\n')
    assert result.stdout.endswith(
        "traces:    http://localhost:4318/v1/traces, 10 % of requests whose caller does not say\n"
    )
    assert CANARY not in result.output
    assert "traces" not in run(GOOD, ACME_API_KEY=CANARY).stdout


def test_what_each_listener_asks_for(run, tmp_path):
    write_files(tmp_path, trustme.CA(), trustme.CA())
    row = '[[listeners]]\naddress = "0.0.0.0:%d"\n'
    tls = 'certificate = "cert.pem", key = "key.pem"'
    result = run(
        row % 1 + f"tls = {{ {tls} }}\n"
        + row % 2 + f'tls = {{ {tls}, client_ca = "clients.pem" }}\n'
        + row % 3 + 'proxy_from = ["10.0.0.0/8", "fd00::1"]\nadmin = true\n'
        + '[[listeners]]\naddress = "unix:/run/a"\nproxy_from = ["unix"]\n'
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[1] == (
        "listen:    0.0.0.0:1 (TLS), 0.0.0.0:2 (TLS, client certificate required), "
        "0.0.0.0:3 (PROXY from 10.0.0.0/8, fd00::1/128; admin), unix:/run/a (PROXY from unix)"
    )


def test_authorities_that_are_not_there_are_told_where_somebody_needs_them(run, tmp_path):
    secure, plain = (
        f'[providers.acme]\nbase_url = "{scheme}://h/v1"\n' for scheme in ("HTTPS", "http")
    )
    missing = str(tmp_path / "none.pem")
    result = run(secure, SSL_CERT_FILE=missing)
    told = f"SSL_CERT_FILE names {missing}, and there is no such file to trust"
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, f"warnings:  {told}")
    assert json.loads(run(secure, "--json", SSL_CERT_FILE=missing).stdout)["warnings"] == [told]
    assert "SSL_CERT_FILE names nothing," in run(secure, SSL_CERT_FILE="").stdout
    (tmp_path / "ca.pem").write_text("")
    for text, file in ((plain, missing), (secure, str(tmp_path / "ca.pem")), (secure, None)):
        assert "warnings" not in run(text, SSL_CERT_FILE=file).stdout


def test_a_key_of_another_certificate_is_named_with_its_line(run, tmp_path):
    write_files(tmp_path, trustme.CA())
    trustme.CA().issue_cert("localhost").private_key_pem.write_to_path(tmp_path / "key.pem")
    result = run(
        '[[listeners]]\naddress = "0.0.0.0:1"\n[listeners.tls]\n'
        'certificate = "cert.pem"\nkey = "key.pem"\n'
    )
    assert result.exit_code == 1
    assert result.stderr == (
        f"Error: {tmp_path}/kproxy.toml:5: listeners[0].tls.key: the key in {tmp_path}/key.pem "
        f"does not belong to the certificate in {tmp_path}/cert.pem\n"
    )


def test_plugins_are_told_and_a_sandbox_that_cannot_be(run, monkeypatch):
    search = '[plugins.web-search]\nbackend = "searxng"\nbase_url = "http://127.0.0.1:1"\n'
    assert "plugins:   web-search (searxng), pdf-reader (on), " in run(search).stdout
    monkeypatch.setattr("kproxy.config.plugins.unavailable", lambda params: "install it")
    assert "code-exec (off: install it)" in run("").stdout
    insisted = run("[plugins.code-exec]\nenabled = true\n")
    assert insisted.exit_code == 1
    assert "plugins.code-exec.enabled: install it" in insisted.stderr

"""When requests are traced, and where their spans go: the table, and OpenTelemetry's variables."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from kproxy import __version__
from kproxy.config import ConfigError, Overrides, load
from kproxy.config.document import PlacedError
from kproxy.config.model import OtelConfig
from kproxy.config.otel import describe_traces, otlp_params
from kproxy.ledger.trace import Sampler
from kproxy.telemetry.otlp import OtlpParams

TABLE = OtelConfig()
CANARY = "canary-canary"


def params(given: OtelConfig | None = TABLE, **environ: str) -> OtlpParams | None:
    return otlp_params(given, environ, lambda named: Path("/etc/kproxy") / named)


def traced(given: OtelConfig | None = TABLE, **environ: str) -> OtlpParams:
    found = params(given, **environ)
    assert found is not None
    return found


def refused(given: OtelConfig | None = TABLE, **environ: str) -> tuple[Any, ...]:
    with pytest.raises(PlacedError) as caught:
        params(given, **environ)
    assert CANARY not in str(caught.value)
    return caught.value.steps


def fields(found: OtlpParams) -> dict[str, str]:
    return {name: value.reveal() for name, value in found.headers}


def test_the_defaults() -> None:
    assert traced() == OtlpParams(
        endpoint="http://localhost:4318/v1/traces",
        headers=(),
        resource={"service.name": "kproxy", "service.version": __version__},
        sampler=Sampler(1.0, follow=True),
        older=False,
        timeout=10.0,
        compressed=False,
        certificate=None,
    )


@pytest.mark.parametrize(
    ("given", "environ", "on"),
    [
        (None, {}, False),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, False),
        (None, {"OTEL_TRACES_EXPORTER": "otlp"}, True),
        (None, {"OTEL_TRACES_EXPORTER": "console"}, False),
        (TABLE, {}, True),
        (TABLE, {"OTEL_TRACES_EXPORTER": "none"}, False),
        (TABLE, {"OTEL_SDK_DISABLED": "True"}, False),
        (TABLE, {"OTEL_SDK_DISABLED": "false", "OTEL_TRACES_EXPORTER": ""}, True),
    ],
)
def test_what_switches_it_on_and_off(
    given: OtelConfig | None, environ: dict[str, str], on: bool
) -> None:
    assert (params(given, **environ) is not None) is on


def test_the_table() -> None:
    found = traced(
        OtelConfig(
            endpoint="https://c.test:4318/base/",
            headers={"Authorization": f"Bearer {CANARY}"},
            service="edge",
            sampler="traceidratio",
            ratio=0.25,
            timeout=3.0,
            compression="gzip",
            certificate="ca.pem",
        )
    )
    assert found.endpoint == "https://c.test:4318/base/v1/traces"
    assert fields(found) == {"authorization": f"Bearer {CANARY}"}
    assert CANARY not in repr(found)
    assert found.resource["service.name"] == "edge"
    assert found.sampler == Sampler(0.25, follow=False)
    assert (found.timeout, found.compressed) == (3.0, True)
    assert found.certificate == "/etc/kproxy/ca.pem"


def test_the_environment_comes_before_the_file() -> None:
    found = traced(
        OtelConfig(endpoint="http://file", headers={"a": "file"}, service="file", ratio=1.0),
        OTEL_EXPORTER_OTLP_ENDPOINT="http://env:1/",
        OTEL_EXPORTER_OTLP_HEADERS=f"api-key={CANARY}%20x, b=2",
        OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
        OTEL_EXPORTER_OTLP_CERTIFICATE="/ca.pem",
        OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
        OTEL_SERVICE_NAME="env",
        OTEL_RESOURCE_ATTRIBUTES="service.name=less,deployment.environment.name=a%2Cb",
        OTEL_TRACES_SAMPLER="parentbased_traceidratio",
        OTEL_TRACES_SAMPLER_ARG="0.5",
        OTEL_SEMCONV_STABILITY_OPT_IN="http, gen_ai/dup",
    )
    assert found.endpoint == "http://env:1/v1/traces"
    assert fields(found) == {"api-key": f"{CANARY} x", "b": "2"}
    assert found.resource["service.name"] == "env"
    assert found.resource["deployment.environment.name"] == "a,b"
    assert found.sampler == Sampler(0.5, follow=True)
    assert (found.compressed, found.certificate, found.older) == (True, "/ca.pem", True)


def test_a_variable_for_traces_alone_comes_first() -> None:
    found = traced(
        OTEL_EXPORTER_OTLP_ENDPOINT="http://all",
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="http://one/own/path",
        OTEL_EXPORTER_OTLP_HEADERS="a=all",
        OTEL_EXPORTER_OTLP_TRACES_HEADERS="a=one",
    )
    assert found.endpoint == "http://one/own/path"
    assert fields(found) == {"a": "one"}


@pytest.mark.parametrize(
    ("name", "sampler"),
    [
        ("always_on", Sampler(1.0, follow=False)),
        ("always_off", Sampler(0.0, follow=False)),
        ("parentbased_always_on", Sampler(1.0)),
        ("parentbased_always_off", Sampler(0.0)),
    ],
)
def test_samplers_without_a_share(name: str, sampler: Sampler) -> None:
    assert traced(OtelConfig(ratio=0.5), OTEL_TRACES_SAMPLER=name).sampler == sampler


def test_names_may_be_in_any_script() -> None:
    found = traced(OTEL_SERVICE_NAME="k\u00e4se \u540d", OTEL_RESOURCE_ATTRIBUTES="a=%C3%A4%20b")
    assert (found.resource["service.name"], found.resource["a"]) == ("k\u00e4se \u540d", "\u00e4 b")


@pytest.mark.parametrize("opted", ["", "http", "gen_ai_latest_experimental", "http/dup"])
def test_the_present_names_are_the_default(opted: str) -> None:
    assert not traced(OTEL_SEMCONV_STABILITY_OPT_IN=opted).older


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_TRACES_EXPORTER", "console"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", f"collector:4317/{CANARY}"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"http://me:{CANARY}@collector"),
        ("OTEL_EXPORTER_OTLP_HEADERS", CANARY),
        ("OTEL_EXPORTER_OTLP_HEADERS", f"a={CANARY}%0A"),
        ("OTEL_EXPORTER_OTLP_HEADERS", f"a b={CANARY}"),
        ("OTEL_EXPORTER_OTLP_HEADERS", f"host={CANARY}"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "brotli"),
        ("OTEL_RESOURCE_ATTRIBUTES", CANARY),
        ("OTEL_RESOURCE_ATTRIBUTES", f"a={CANARY}%FF"),
        ("OTEL_RESOURCE_ATTRIBUTES", f"a={CANARY}%00"),
        ("OTEL_RESOURCE_ATTRIBUTES", f"a={CANARY}\udcff"),
        ("OTEL_RESOURCE_ATTRIBUTES", f"\udcff={CANARY}"),
        ("OTEL_SERVICE_NAME", f"{CANARY}\udcff"),
        ("OTEL_SERVICE_NAME", f"{CANARY}\x1b[1m"),
        ("OTEL_EXPORTER_OTLP_HEADERS", f"a={CANARY}%FF"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://collector/{CANARY}\udcff"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
        ("OTEL_TRACES_SAMPLER_ARG", "nan"),
        ("OTEL_TRACES_SAMPLER_ARG", "half"),
    ],
)
def test_what_a_variable_may_not_say(name: str, value: str) -> None:
    assert refused(**{name: value}) == (name,)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"endpoint": f"http://me:{CANARY}@collector"}, "endpoint"),
        ({"headers": {"a": f"{CANARY}\n"}}, "headers"),
        ({"headers": {"content-length": "1"}}, "headers"),
        ({"sampler": "some"}, "sampler"),
        ({"service": f"{CANARY}\n"}, "service"),
    ],
)
def test_what_the_table_may_not_say(changes: dict[str, Any], key: str) -> None:
    given = msgspec.structs.replace(TABLE, **changes)
    assert refused(given) == ("telemetry", "otel", key)


def test_the_extra_is_named_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kproxy.config.otel.is_installed", lambda: False)
    file = tmp_path / "kproxy.toml"
    file.write_text("[log]\n[telemetry.otel]\nservice = 'edge'\n")
    with pytest.raises(ConfigError) as caught:
        load(Overrides(config=file), {"HOME": "/srv"})
    assert str(caught.value) == (
        f"{file}:2: telemetry.otel: needs an extra: pip install 'kproxy[otel]'"
    )
    assert params(None) is None, "who does not trace needs none"


def test_what_people_are_told() -> None:
    where = "http://localhost:4318/v1/traces"
    assert describe_traces(None) == []
    assert describe_traces(traced()) == [where, "100 % of requests whose caller does not say"]
    share = traced(OTEL_TRACES_SAMPLER="traceidratio", OTEL_TRACES_SAMPLER_ARG="0.001")
    assert describe_traces(share) == [where, "0.1 % of requests"]


def test_a_file_without_the_table_traces_nothing(tmp_path: Path) -> None:
    file = tmp_path / "kproxy.toml"
    file.write_text("[telemetry]\n")
    assert load(Overrides(config=file), {"HOME": "/srv"}).otlp is None

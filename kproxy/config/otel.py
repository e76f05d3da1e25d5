"""`[telemetry.otel]` and OpenTelemetry's own variables in, where spans go out; or that none do.

The table switches tracing on, and so does `OTEL_TRACES_EXPORTER=otlp`; an address alone does not,
since whole clusters have one in their environment. `OTEL_TRACES_EXPORTER=none` and
`OTEL_SDK_DISABLED=true` switch it off. The environment comes before the file, as everywhere; a
variable that is empty is not there. What cannot be had is refused by its name, and never repeated:
values may be secret.
(https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/)
"""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from urllib.parse import unquote

from kproxy import __version__
from kproxy.admission.keys import Secret
from kproxy.config.checks import check_base_url
from kproxy.config.document import PlacedError, Steps
from kproxy.config.model import OtelConfig
from kproxy.ledger.semconv import DUPLICATE, SERVICE_NAME, SERVICE_VERSION
from kproxy.ledger.trace import Sampler
from kproxy.telemetry.otlp import EXTRA, OtlpParams, is_installed

__all__ = ["describe_traces", "otlp_params"]

PATH = "/v1/traces"
PROTOCOL = "http/protobuf"

TABLE: Steps = ("telemetry", "otel")

SAMPLERS: Mapping[str, tuple[bool, float | None]] = MappingProxyType(
    {
        "always_on": (False, 1.0),
        "always_off": (False, 0.0),
        "traceidratio": (False, None),
        "parentbased_always_on": (True, 1.0),
        "parentbased_always_off": (True, 0.0),
        "parentbased_traceidratio": (True, None),
    }
)
"""Whether a caller's decision is followed, and the share of the rest; None: it is configured."""

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")  # RFC 9110 section 5.6.2
_VALUE = re.compile(r"[!-~](?:[ -~]{0,4094}[!-~])?")

FRAMING = frozenset({
    "connection", "content-encoding", "content-length", "content-type", "host",
    "transfer-encoding",
})  # fmt: skip
"""Fields that are ours to set."""


def otlp_params(
    given: OtelConfig | None, environ: Mapping[str, str], beside: Callable[[str], Path]
) -> OtlpParams | None:
    """Where spans go; None: nothing is traced. `beside`: what a file's name in the table means.

    Raises PlacedError, also where the extra is not installed.
    """
    variables = _Variables(environ)
    if not _is_on(given, variables):
        return None
    if not is_installed():
        raise PlacedError(TABLE, f"needs an extra: pip install '{EXTRA}'")
    given = OtelConfig() if given is None else given
    protocol = variables.signal("PROTOCOL")
    if protocol and protocol[1] != PROTOCOL:
        raise PlacedError((protocol[0],), f'must be "{PROTOCOL}": kproxy speaks no other')
    certificate = variables.signal("CERTIFICATE")
    named = None if given.certificate is None else str(beside(given.certificate))
    opted = variables.get("OTEL_SEMCONV_STABILITY_OPT_IN").split(",")
    return OtlpParams(
        endpoint=_endpoint(given, variables),
        headers=_headers(given, variables),
        resource=_resource(given, variables),
        sampler=_sampler(given, variables),
        older=DUPLICATE in map(str.strip, opted),
        timeout=given.timeout,
        compressed=_is_compressed(given, variables),
        certificate=certificate[1] if certificate else named,
    )


def describe_traces(params: OtlpParams | None) -> list[str]:
    """Where spans go and which, for people; empty: nowhere. The endpoint holds no secret."""
    if params is None:
        return []
    whose = "requests whose caller does not say" if params.sampler.follow else "requests"
    return [params.endpoint, f"{100 * params.sampler.ratio:g} % of {whose}"]


class _Variables:
    """OpenTelemetry's, without white space around them; an empty one is none."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def get(self, name: str) -> str:
        return self._environ.get(name, "").strip()

    def signal(self, name: str) -> tuple[str, str] | None:
        """One for traces alone, else the one for every signal: its whole name, and its value."""
        for prefix in ("OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_"):
            if value := self.get(prefix + name):
                return prefix + name, value
        return None


def _is_on(given: OtelConfig | None, variables: _Variables) -> bool:
    exporter = variables.get("OTEL_TRACES_EXPORTER")
    if exporter == "none" or variables.get("OTEL_SDK_DISABLED").lower() == "true":
        return False
    if given is not None and exporter not in ("", "otlp"):
        raise PlacedError(("OTEL_TRACES_EXPORTER",), 'must be "otlp" or "none"')
    return given is not None or exporter == "otlp"


def _endpoint(given: OtelConfig, variables: _Variables) -> str:
    whole = variables.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    if whole:
        return _address(whole, ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",))
    base, steps = variables.get("OTEL_EXPORTER_OTLP_ENDPOINT"), ("OTEL_EXPORTER_OTLP_ENDPOINT",)
    if base:
        return _address(base, steps) + PATH
    return _address(given.endpoint, (*TABLE, "endpoint")) + PATH


def _address(text: str, steps: Steps) -> str:
    try:
        return check_base_url(text)
    except ValueError as error:
        raise PlacedError(steps, str(error).replace("api_key", "headers")) from None


def _headers(given: OtelConfig, variables: _Variables) -> tuple[tuple[str, Secret], ...]:
    found = variables.signal("HEADERS")
    if found is None:
        return _fields(given.headers.items(), (*TABLE, "headers"))
    return _fields(_pairs(*found), (found[0],))


def _fields(named: Iterable[tuple[str, str]], steps: Steps) -> tuple[tuple[str, Secret], ...]:
    fields = []
    for name, value in named:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise PlacedError(steps, "holds what cannot be a header")
        if name.lower() in FRAMING:
            raise PlacedError(steps, f"{name.lower()} is not to be set")
        fields.append((name.lower(), Secret(value)))
    return tuple(fields)


def _resource(given: OtelConfig, variables: _Variables) -> Mapping[str, str]:
    """Who sends: the service's name, and what else the environment says of it."""
    name = "OTEL_RESOURCE_ATTRIBUTES"
    told = _shown(_pairs(name, variables.get(name)), (name,))
    found = _shown([(SERVICE_NAME, given.service)], (*TABLE, "service"))
    found |= {SERVICE_VERSION: __version__} | told
    name = "OTEL_SERVICE_NAME"
    service = variables.get(name)
    return found | _shown([(SERVICE_NAME, service)], (name,)) if service else found


def _shown(named: Iterable[tuple[str, str]], steps: Steps) -> dict[str, str]:
    """Them, where people can read them. What the environment holds beside UTF-8 is not printable
    to Python, and nothing that could be sent."""
    found = dict(named)
    if not all(text.isprintable() for pair in found.items() for text in pair):
        raise PlacedError(steps, "must be printable, and UTF-8")
    return found


def _pairs(name: str, text: str) -> list[tuple[str, str]]:
    """`a=1,b=2`, values percent-encoded where they must be."""
    pairs = []
    for part in filter(None, map(str.strip, text.split(","))):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise PlacedError((name,), "must be NAME=VALUE, and commas between")
        try:
            pairs.append((key.strip(), unquote(value.strip(), errors="strict")))
        except UnicodeDecodeError:
            raise PlacedError((name,), "must be UTF-8 where it is percent-encoded") from None
    return pairs


def _sampler(given: OtelConfig, variables: _Variables) -> Sampler:
    variable = variables.get("OTEL_TRACES_SAMPLER")
    steps: Steps = ("OTEL_TRACES_SAMPLER",) if variable else (*TABLE, "sampler")
    known = SAMPLERS.get(variable or given.sampler)
    if known is None:
        raise PlacedError(steps, f"must be one of {', '.join(SAMPLERS)}")
    follow, ratio = known
    return Sampler(_ratio(given, variables) if ratio is None else ratio, follow)


def _ratio(given: OtelConfig, variables: _Variables) -> float:
    text = variables.get("OTEL_TRACES_SAMPLER_ARG")
    if not text:
        return given.ratio
    try:
        ratio = float(text)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio <= 1:
        raise PlacedError(("OTEL_TRACES_SAMPLER_ARG",), "must be a number from 0 to 1")
    return ratio


def _is_compressed(given: OtelConfig, variables: _Variables) -> bool:
    found = variables.signal("COMPRESSION")
    if found is not None and found[1] not in ("gzip", "none"):
        raise PlacedError((found[0],), 'must be "gzip" or "none"')
    return (given.compression if found is None else found[1]) == "gzip"

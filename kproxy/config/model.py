"""The shape of the configuration file, and every default with its reason.

Each struct is one table of the TOML file (contract section 12); unknown keys are refused. Sizes
are bytes and times are seconds, as plain numbers. The values of [limits] and of the downstream
half of [timeouts] are those of reliability.md section 4.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from kproxy.admission.keys import Secret
from kproxy.admission.shedding import LATE_TURN
from kproxy.catalog.quality import Qualities, Share
from kproxy.config.http2 import Http2Limits
from kproxy.config.plugin_model import (
    CodeExecConfig,
    GutenbergConfig,
    ImageGenConfig,
    MemoryConfig,
    PdfReaderConfig,
    WebSearchConfig,
)
from kproxy.routing.dial import Dial
from kproxy.routing.table import People
from kproxy.sim.params import SimParams

__all__ = [
    "Address",
    "Attempts",
    "CatalogConfig",
    "FileConfig",
    "GuardrailsConfig",
    "Limits",
    "ListenerConfig",
    "LogConfig",
    "ModelConfig",
    "ModerationConfig",
    "OtelConfig",
    "PluginsConfig",
    "PriceConfig",
    "ProviderConfig",
    "RouteTimeoutsConfig",
    "RoutingConfig",
    "RuleConfig",
    "SimConfig",
    "SystemdAddress",
    "TelemetryConfig",
    "TierConfig",
    "Timeouts",
    "TlsConfig",
    "UnixAddress",
]

# The upper ends catch mistakes of unit: a gigabyte of memory per request, a timer in milliseconds.
Bytes = Annotated[int, Meta(ge=1, le=1 << 30)]
Count = Annotated[int, Meta(ge=1, le=10_000_000)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Usd = int | float

_SIM = SimParams()


class Address(NamedTuple):
    """Where to listen. Port 0: any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class UnixAddress(NamedTuple):
    """A unix socket. The default mode is its owner's alone: who may connect is a decision."""

    path: str  # absolute
    mode: int = 0o600

    def __str__(self) -> str:
        return f"unix:{self.path}"


class SystemdAddress(NamedTuple):
    """The sockets that systemd passes by this name; empty: all that no other listener names."""

    name: str = ""

    def __str__(self) -> str:
        return f"systemd:{self.name}" if self.name else "systemd"


class TlsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`tls` of a listener: PEM files, relative to this file. They are read again when they change.

    Which versions and ciphers there are is no question of taste: see `transport/certificates.py`.
    """

    certificate: str  # the server's own first, then those between it and the authority
    key: str | None = None  # None: in the same file
    client_ca: str | None = None  # ask callers for a certificate by one of these
    client: Literal["required", "optional"] | None = None  # None: required, once there is a CA


class ListenerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One row of `[[listeners]]`."""

    address: str  # HOST:PORT, unix:PATH, or systemd[:NAME]
    mode: str | None = None  # of a unix socket's file, octal
    tls: TlsConfig | None = None
    # Networks of load balancers that send a PROXY header, and then must; "unix": whoever is on
    # this unix socket. From anybody else the header would be a lie that is believed.
    proxy_from: tuple[str, ...] = ()
    admin: bool = False  # /livez, /readyz and /metrics are here and nowhere else


class ProviderConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One `[providers.SLUG]`. After `load` its dialect is known, and its `base_url` unless it is
    played."""

    dialect: str | None = None  # None: the usual provider's own, else what nearly every host speaks
    base_url: str | None = None  # without a slash at its end
    api_key: Secret | None = None  # None: sent without one, as local servers want it
    display: str | None = None  # None: the catalog's spelling, else the slug
    may_train: bool | None = None  # None: the catalog's fact, else it fails closed (section 5)
    zdr: bool | None = None  # likewise
    models: str | None = None  # "any": forward names that no [[models]] lists
    http2: bool = False  # offer it by ALPN; one connection then carries many requests
    # HTTP/1.1 carries one request per connection, so this is how many may run at one provider at
    # once, over HTTP/2 too. 4,096 leaves room for the 2,000 streams of reliability.md R33 twice
    # over and stays below what a process may usually open; Envoy's 1,024 is made for requests of
    # milliseconds.
    max_connections: Count = 4_096


class PriceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """USD per million tokens, as written; `request` is USD per request. None: unknown.

    Every value has passed `money.nanos`, which is also how to read it.
    """

    input: Usd
    output: Usd
    cached_input: Usd | None = None
    cache_write: Usd | None = None
    request: Usd | None = None


class RouteTimeoutsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`timeouts` of one model row: instead of those in `[timeouts]`."""

    total: Seconds | None = None
    first_token: Seconds | None = None
    gap: Seconds | None = None


class ModelConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One row of `[[models]]`: a model at a provider. None: the catalog's fact, else unknown."""

    id: str
    provider: str
    upstream: str = ""  # what the provider calls it; `load` fills in the id
    price: PriceConfig | None = None
    context_tokens: Count | None = None
    max_output_tokens: Count | None = None
    capabilities: tuple[str, ...] | None = None
    quantization: str | None = None
    quality: Share | Qualities | None = None  # one number: for every category
    timeouts: RouteTimeoutsConfig = RouteTimeoutsConfig()
    prefill: bool | None = None  # continues the assistant message that a request ends with
    enabled: bool = True


class CatalogConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[catalog]`: what the operator's rows come on top of."""

    file: str | None = None  # in the form of `kproxy/catalog/models.json`; None: that one


class RoutingConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[routing]`: how `auto` chooses (contract section 5)."""

    # How much of the best model's quality is kept on the mean; `routing/dial.py` has the shares.
    dial: Dial = "balanced"
    artefact: str | None = None  # what `kproxy router train` wrote; None: the packaged one
    # The least expected quality by category; a model below it does not answer such a prompt.
    floors: Mapping[People, Annotated[float, Meta(ge=0, le=1)]] = {}


class TierConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One `[tiers.NAME]`. None: the default of the name in `admission/tiers.py`, and for any other
    name no limit of ours.

    `overage` is USD per million tokens and `trial_credit` is USD, as written.
    """

    requests_per_minute: Count | None = None
    burst: Count | None = None  # requests at once
    tokens_per_month: Annotated[int, Meta(ge=0, le=1 << 50)] | None = None
    overage: Usd | None = None
    hard_cap: bool | None = None  # refuse beyond the month's tokens, whatever the overage costs
    trial_credit: Usd | None = None
    paid: bool | None = None  # the paid plugins; an own tier has them only where it says so


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[limits]`: how large and how many. One more than a limit is refused."""

    request_line: Bytes = 8 * 1024  # nginx's lines
    field: Bytes = 16 * 1024  # one name and value; room for long tokens
    fields: Bytes = 32 * 1024  # all of them; Envoy takes 60 KiB
    field_count: Count = 100  # Envoy's
    body: Bytes = 32 * 1024 * 1024  # images travel inside
    chunk_line: Bytes = 256  # a size and a short extension
    chunk_extensions: Bytes = 16 * 1024  # of one body in all; they mean nothing and are dropped
    trailers: Bytes = 8 * 1024
    json_depth: Count = 64  # orjson's 1,024 is only the back stop
    json_digits: Count = 64  # of one number; no client means more
    json_members: Count = 10_000  # of one object
    json_values: Count = 200_000  # in the whole body; 32 MiB of them would cost a gigabyte
    messages: Count = 10_000
    upstream_head: Bytes = 32 * 1024
    upstream_body: Bytes = 32 * 1024 * 1024
    sse_line: Bytes = 1024 * 1024  # an image can come as one line
    sse_event: Bytes = 4 * 1024 * 1024
    stream_buffer: Bytes = 256 * 1024  # towards a slow reader, then back-pressure; Envoy 32 KiB
    connections: Count = 10_000
    connections_per_address: Count = 256  # a proxy in front needs more, or the PROXY protocol
    handshakes: Count = 256  # of TLS at one time: 1.4 ms of CPU each; more wait their turn
    http2: Http2Limits = Http2Limits()


class Timeouts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[timeouts]`: how long a caller may take, and how long a provider.

    `total` bounds the others: where one is longer, `load` shortens it.
    """

    # The caller.
    handshake: Seconds = 5.0  # TLS, and a PROXY header before it; nginx: 60
    head: Seconds = 10.0  # HAProxy advises 8 to 10 against slow heads
    body_read: Seconds = 15.0  # between two reads of a body
    body: Seconds = 60.0  # a whole body: 32 MiB over 4.5 Mbit/s
    keep_alive: Seconds = 60.0  # longer than clients' own pools, so that they close first
    write: Seconds = 60.0  # a reader without any progress
    # The provider.
    connect: Seconds = 5.0  # covers one lost SYN (1 s, then 3 s)
    first_token: Seconds = 60.0  # long prompts are slow before the first token, not after it
    gap: Seconds = 60.0  # silence inside an answer
    total: Seconds = 600.0  # the OpenAI client's own default: it will not wait longer
    upstream_keep_alive: Seconds = 30.0  # below the 60 s after which many load balancers close
    # In the queue for a provider's connection; longer than making one may take, it is of no use.
    queue: Seconds = 5.0
    # Both.
    turn: Seconds = LATE_TURN  # of the event loop; see `admission/shedding.py`
    heartbeat: Seconds = 15.0  # contract section 3; under the 30 s of impatient middle boxes


class Attempts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[attempts]`: when another provider is asked, and what that may cost (contract section 6)."""

    # What a request gets that asks for nothing; one that states a latency is hedged.
    strategy: Literal["single", "hedge", "race"] = "single"
    # After the first attempt, of every kind together; the OpenAI client's own number.
    retries: Annotated[int, Meta(ge=0, le=10)] = 2
    beside: Annotated[int, Meta(ge=2, le=8)] = 2  # at one time, in a hedge or a race
    rescue: bool = False  # two models' words are never joined unasked
    hedge_share: Annotated[float, Meta(ge=0, le=1)] = 0.05  # of requests; The Tail at Scale: 2-5 %
    hedge_floor_ms: Annotated[float, Meta(ge=1, le=60_000)] = 50.0  # under it, noise would hedge
    hedge_samples: Annotated[int, Meta(ge=3, le=10_000)] = 20  # fewer have no 95th percentile
    repeat_share: Annotated[float, Meta(ge=0, le=1)] = 0.2  # asking the same again; Finagle's share
    breaker_failures: Annotated[int, Meta(ge=1, le=10_000)] = 3  # in a row; Linkerd: 7
    breaker_rest: Seconds = 5.0  # then one probe; doubled with each that fails
    breaker_longest_rest: Seconds = 60.0
    credential_rest: Seconds = 30.0  # after a 401: somebody has to put in another key


class RuleConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One row of `[[guardrails.rules]]`; `guard/rules.py` says what the actions do."""

    action: Literal["allow", "mask", "redact", "block"]
    name: str = ""  # empty: the builtin's
    builtin: str | None = None  # one of `guard/builtin.py`
    pattern: str | None = None  # RE2's syntax; a match has an end
    on: tuple[Literal["request", "response"], ...] = ()  # empty: both, of a mask the request


class ModerationConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[guardrails.moderation]`: an operator's own classifier, asked before anything is sent."""

    url: str  # of the endpoint itself, as in http://127.0.0.1:9100/v1/moderations
    model: str | None = None  # passed on in the question
    api_key: Secret | None = None
    deadline: Seconds = 2.0  # it stands in front of every first token
    max_bytes: Bytes = 1024 * 1024  # of the question; OpenAI's own takes about as much
    fail: Literal["open", "closed"] = "closed"  # what was not judged is not safe by that


class GuardrailsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[guardrails]`: rules on what is said. None of either: nothing is looked at."""

    rules: tuple[RuleConfig, ...] = ()
    moderation: ModerationConfig | None = None


class PluginsConfig(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="kebab"
):
    """`[plugins]`: a table for each plugin, under its id (contract section 9). None: it is off."""

    web_search: WebSearchConfig | None = None
    gutenberg: GutenbergConfig | None = None
    image_gen: ImageGenConfig | None = None
    pdf_reader: PdfReaderConfig = PdfReaderConfig()
    code_exec: CodeExecConfig = CodeExecConfig()
    memory: MemoryConfig = MemoryConfig()
    # Requests to providers for one answer, where the model calls tools of ours; agents that do one
    # thing need two or three.
    rounds: Annotated[int, Meta(ge=2, le=50)] = 5


class SimConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[sim]`: how the simulated providers behave; `sim/params.py` says what each key means.

    The defaults are theirs: a quick hosted model, so that a first try looks like the real thing.
    """

    seed: int = _SIM.seed
    first_token_ms: float = _SIM.first_token_ms
    token_ms: float = _SIM.token_ms
    jitter: float = _SIM.jitter
    tail: str = _SIM.tail
    tokens: str = _SIM.tokens
    faults: tuple[str, ...] = _SIM.faults


class LogConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[log]`."""

    access: str | None = None  # "-": standard error; else a file, relative to this one; None: none


class OtelConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[telemetry.otel]`: traces to an OpenTelemetry collector. OpenTelemetry's own variables come
    before these keys, see `config/otel.py`."""

    endpoint: str = "http://localhost:4318"  # /v1/traces follows
    headers: Mapping[str, str] = MappingProxyType({})  # often with a secret in them
    service: str = "kproxy"
    # OpenTelemetry's names and its default. Its "parent" is the caller, who then decides first.
    sampler: str = "parentbased_traceidratio"
    ratio: Annotated[float, Meta(ge=0, le=1)] = 1.0
    timeout: Seconds = 10.0  # for a batch with its retries, without Retry-After; the SDKs' default
    compression: Literal["gzip", "none"] = "none"
    certificate: str | None = None  # authorities to trust instead of the system's, in a PEM file


class TelemetryConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[telemetry]`: what leaves the process by itself. None: nothing does."""

    otel: OtelConfig | None = None


class FileConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file, but for providers, models, tiers and listeners, converted one by one."""

    # Loopback: an open port with somebody's provider keys behind it is a decision, not a default.
    listen: tuple[str, ...] = ("127.0.0.1:4000",)
    data_dir: str | None = None
    # "none": a sidecar, for whoever reaches the address; `load` refuses any but loopback ones.
    auth: str = "keys"
    # Processes that serve the same listeners. One is exactly one, without a parent beside it. The
    # shared counters have columns for 64, and a restart that overlaps has twice its workers.
    workers: Annotated[int, Meta(ge=1, le=32)] = 1
    # A caller that ends its sending side is taken for gone, because a generating model costs money.
    half_close: bool = False
    # Long answers take minutes: 30 s has cut every long stream of those who tried it.
    drain_timeout: Annotated[float, Meta(ge=0, le=86_400)] = 600.0
    # A receipt that is "fast" survives the process; a "strict" one also a power cut, for an fsync
    # before the last byte of each answer (one for all that end together).
    ledger: Literal["fast", "strict"] = "fast"
    reference_model: str = "gpt-4.1"  # contract section 5: what savings are measured against
    catalog: CatalogConfig = CatalogConfig()
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    attempts: Attempts = Attempts()
    routing: RoutingConfig = RoutingConfig()
    guardrails: GuardrailsConfig = GuardrailsConfig()
    plugins: PluginsConfig = PluginsConfig()
    sim: SimConfig = SimConfig()
    log: LogConfig = LogConfig()
    telemetry: TelemetryConfig = TelemetryConfig()

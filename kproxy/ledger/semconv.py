"""The names of spans' attributes, all of them: no other file spells one.

OpenTelemetry's conventions for HTTP and errors are stable (semantic-conventions v1.44). Those for
generative AI are in development and have a repository of their own
(open-telemetry/semantic-conventions-genai, docs/gen-ai/client-inference.md); what it has renamed is
sent under the old names as well where `OTEL_SEMCONV_STABILITY_OPT_IN` lists `gen_ai/dup`. A list
with or without `gen_ai_latest_experimental` and `http` asks for the present names, which are all
that there ever were here. What nobody has a name for begins with `kproxy.`.
"""

from types import MappingProxyType

__all__ = [
    "DUPLICATE",
    "OLDER",
    "PROVIDERS",
    "provider_name",
]

DUPLICATE = "gen_ai/dup"
"""The word of `OTEL_SEMCONV_STABILITY_OPT_IN` that asks for `OLDER` names, too."""

# Who sends.
SERVICE_NAME = "service.name"
SERVICE_VERSION = "service.version"

# HTTP, of the span of a caller's request.
HTTP_METHOD = "http.request.method"
HTTP_ROUTE = "http.route"
HTTP_STATUS = "http.response.status_code"
URL_PATH = "url.path"
URL_SCHEME = "url.scheme"
PROTOCOL_VERSION = "network.protocol.version"

# Of both.
ERROR_TYPE = "error.type"

# Of the span of an attempt at a provider.
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
OUTPUT_TYPE = "gen_ai.output.type"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_STREAM = "gen_ai.request.stream"
REQUEST_CHOICES = "gen_ai.request.choice.count"
REQUEST_MAX_TOKENS = "gen_ai.request.max_tokens"
REQUEST_TEMPERATURE = "gen_ai.request.temperature"
RESPONSE_MODEL = "gen_ai.response.model"
FINISH_REASONS = "gen_ai.response.finish_reasons"
FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS = "gen_ai.usage.cache_write.input_tokens"
REASONING_TOKENS = "gen_ai.usage.reasoning.output_tokens"

CHAT = "chat"
"""The one operation that there is."""

# Ours, of a request.
REQUEST_ID = "kproxy.request_id"
ENDING = "kproxy.ending"
ERROR_CODE = "kproxy.error_code"
ACCOUNT = "kproxy.account_id"
KEY = "kproxy.key_id"
RECEIPT = "kproxy.receipt_id"
ASKED_MODEL = "kproxy.asked_model"
STRATEGY = "kproxy.strategy"
DIAL = "kproxy.dial"
CATEGORY = "kproxy.category"
ATTEMPTS = "kproxy.attempts"
COST = "kproxy.cost_usd"
SAVINGS = "kproxy.savings_usd"

# Ours, of an attempt.
MODEL = "kproxy.model"
WHY = "kproxy.attempt.why"
SHOWN = "kproxy.attempt.shown"
CONNECTED = "kproxy.attempt.connected_seconds"
ESTIMATED = "kproxy.usage_estimated"
OWN_KEY = "kproxy.own_key"

OLDER = MappingProxyType(
    {
        PROVIDER: "gen_ai.system",
        CACHE_WRITE_TOKENS: "gen_ai.usage.cache_creation.input_tokens",
    }
)
"""What was renamed: the present name to the one before."""

PROVIDERS = MappingProxyType(
    {
        "xai": "x_ai",
        "mistral": "mistral_ai",
        "moonshot": "moonshot_ai",
        "gemini": "gcp.gemini",
        "google": "gcp.gemini",
        "azure": "azure.ai.openai",
    }
)
"""Slugs of ours that the conventions spell otherwise."""


def provider_name(slug: str) -> str:
    """A provider as the conventions name it; one that they do not know keeps its slug."""
    return PROVIDERS.get(slug, slug)

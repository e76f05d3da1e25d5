"""A request in OpenAI's form in, the body of a Messages request out, or the field it cannot carry.

Every member of the request has one of five fates, and no other:

1. said in Anthropic's words: messages, tools, limits, stop, format, user;
2. left out, because it asks for nothing that an answer shows (`DROPPED`, each with its reason);
3. refused by name, because without it the answer would be another one (`REFUSED`), unless its
   value is the one that changes nothing;
4. kproxy's own, which goes nowhere;
5. Anthropic's own, and sent on as it came: `PASSED`, and nothing else. What we write ourselves
   (`system`, `stop_sequences`) would be read there and by nobody here: neither by rules nor by
   whoever counts tokens. Of what is unknown to us we do not know what it costs. Both are refused.

A JSON answer is asked for by the native output format (`output_config.format`), not by a forced
tool: it does not take the place of the caller's tools. It needs a schema, so `json_object`, which
has none, is refused.

Source: the Messages API reference and the page on OpenAI SDK compatibility, as of November 2026.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import Raw

from kproxy.dialect.anthropic.tools import tool_choice, translate_tools
from kproxy.dialect.anthropic.turns import translate_messages
from kproxy.dialect.openai import OURS
from kproxy.errors import NotCarried

__all__ = [
    "DEFAULT_MAX_TOKENS",
    "DROPPED",
    "EFFORT_MODELS",
    "PASSED",
    "REFUSED",
    "TRANSLATED",
    "UNSAMPLED_MODELS",
    "build",
    "refused",
]

DEFAULT_MAX_TOKENS = 4_096
"""Where nobody has said how much the model may write; Anthropic wants a number, and every model
that it still serves writes as much."""

DROPPED = frozenset({
    "metadata", "store", "prompt_cache_key", "prompt_cache_retention",  # about OpenAI's storage
    "service_tier",  # OpenAI's names of tiers
    "seed",  # best effort at OpenAI, too
    "prediction",  # makes an answer faster, and no other one
    "verbosity",  # a hint
    "stream_options",  # usage is always told
})  # fmt: skip

REFUSED: Mapping[str, tuple[object, ...]] = MappingProxyType(
    {
        "n": (1,),
        "logprobs": (False,),
        "top_logprobs": (0,),
        "logit_bias": ({},),
        "frequency_penalty": (0,),
        "presence_penalty": (0,),
        "modalities": (["text"],),
        "audio": (),
        "functions": ([],),
        "function_call": ("none",),
        "web_search_options": (),
    }
)
"""Members without a counterpart, and the values that ask for nothing."""

PASSED = frozenset({"thinking", "top_k"})
"""Anthropic's own members. They hold no words for the model and change no price: tokens of thoughts
are tokens of the answer. So `speed`, `inference_geo` and `mcp_servers` are not among them."""

TRANSLATED = frozenset({
    "model", "messages", "max_tokens", "max_completion_tokens", "stream", "stop", "temperature",
    "top_p", "tools", "tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort",
    "user", "safety_identifier", "output_config",
})  # fmt: skip

EFFORT_MODELS = (
    "claude-fable-5", "claude-mythos-", "claude-opus-4-5", "claude-opus-4-6", "claude-opus-4-7",
    "claude-opus-4-8", "claude-opus-5", "claude-sonnet-4-6", "claude-sonnet-5", "claude-haiku-5",
)  # fmt: skip
"""Models that take `output_config.effort` (platform.claude.com, effort, supported models); others
answer 400 to it, and there `reasoning_effort` is left out, as Anthropic's own OpenAI-compatible
endpoint does it."""

UNSAMPLED_MODELS = (
    "claude-fable-5", "claude-mythos-", "claude-opus-4-7", "claude-opus-4-8", "claude-opus-5",
    "claude-sonnet-5", "claude-haiku-5",
)  # fmt: skip
"""Models that answer 400 to a temperature or `top_p` of the caller's own (platform.claude.com,
migration guides of these models): there both are left out."""

EFFORTS = MappingProxyType(
    {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high"}
)
"""`none` is not among them: without `thinking` a model does not think."""

_NULL = b"null"
_NAME_SHOWN = 80
_decode_format = msgspec.json.Decoder(dict[str, Raw]).decode


def build(fields: Mapping[str, Raw], upstream: str, stream: bool, limit: int | None) -> bytes:
    """The body. `limit` is what the model writes at most. Raises NotCarried."""
    return msgspec.json.encode(_translated(fields, upstream, stream, limit))


def refused(fields: Mapping[str, Raw]) -> NotCarried | None:
    """What `build` would raise, for whichever model."""
    try:
        _translated(fields, "", stream=False, limit=None)
    except NotCarried as error:
        return error
    return None


def _translated(
    fields: Mapping[str, Raw], upstream: str, stream: bool, limit: int | None
) -> dict[str, Any]:
    given = {name: raw for name, raw in fields.items() if bytes(raw) != _NULL}
    body: dict[str, Any] = {"model": upstream, "max_tokens": _max_tokens(given, limit)}
    conversation = translate_messages(given["messages"])
    if conversation.system:
        body["system"] = conversation.system
    body["messages"] = conversation.turns
    _tools(given, body)
    if not upstream.startswith(UNSAMPLED_MODELS):
        _sampling(given, body)
    if "stop" in given:
        stop = msgspec.json.decode(given["stop"])
        body["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    config = _output_config(given, upstream)
    if config:
        body["output_config"] = config
    user = given.get("user") or given.get("safety_identifier")
    if user is not None:
        body["metadata"] = {"user_id": user}
    if stream:
        body["stream"] = True
    return body | _passed(given)


def _max_tokens(given: Mapping[str, Raw], limit: int | None) -> int:
    names = ("max_completion_tokens", "max_tokens")
    asked = [msgspec.json.decode(given[name], type=int) for name in names if name in given]
    return max(asked, default=limit or DEFAULT_MAX_TOKENS)


def _tools(given: Mapping[str, Raw], body: dict[str, Any]) -> None:
    tools = translate_tools(given["tools"]) if "tools" in given else []
    if tools:
        body["tools"] = tools
        choice = tool_choice(given.get("tool_choice"), given.get("parallel_tool_calls"))
        if choice is not None:
            body["tool_choice"] = choice


def _sampling(given: Mapping[str, Raw], body: dict[str, Any]) -> None:
    """Temperature ends at 1 here, which is also what stands for none; OpenAI's ends at 2. A default
    is left out."""
    for name in ("temperature", "top_p"):
        if name in given and _number(given[name], name) < 1:
            body[name] = given[name]


def _number(raw: Raw, name: str) -> float:
    try:
        return msgspec.json.decode(raw, type=float)
    except msgspec.ValidationError as error:
        raise NotCarried(name, f"Invalid '{name}': expected a number.") from error


def _output_config(given: Mapping[str, Raw], upstream: str) -> dict[str, Any]:
    """The caller's own effort, which has more names here; the format and the effort of others."""
    try:
        config: dict[str, Any] = dict(_decode_format(given.get("output_config", b"{}")))
    except msgspec.ValidationError as error:
        raise NotCarried("output_config", "Invalid 'output_config': expected object.") from error
    if (other := next((name for name in config if name != "effort"), None)) is not None:
        where = f"output_config.{other[:_NAME_SHOWN]}"
        raise NotCarried(where, f"kproxy sends no '{where}'; a format is said by response_format.")
    if "response_format" in given:
        config |= _format(given["response_format"])
    if "reasoning_effort" in given and upstream.startswith(EFFORT_MODELS):
        effort = EFFORTS.get(str(msgspec.json.decode(given["reasoning_effort"])))
        if effort is not None:
            config["effort"] = effort
    return config


def _format(raw: Raw) -> dict[str, Any]:
    asked = msgspec.json.decode(raw)
    kind = asked.get("type")
    if kind == "text":
        return {}
    if kind != "json_schema":
        raise NotCarried(
            "response_format",
            "Anthropic answers in JSON by a schema only: use response_format json_schema.",
        )
    described = asked.get("json_schema")
    schema = described.get("schema") if isinstance(described, dict) else None
    if not isinstance(schema, dict):
        raise NotCarried("response_format.json_schema.schema", "A schema is missing.")
    return {"format": {"type": "json_schema", "schema": schema}}


def _passed(given: Mapping[str, Raw]) -> dict[str, Raw]:
    """What goes on as it came. Raises NotCarried for what would be lost, or is not known."""
    rest = {}
    for name, raw in given.items():
        if name in REFUSED:
            if msgspec.json.decode(raw) not in REFUSED[name]:
                raise NotCarried(name, f"Anthropic's API has nothing like '{name}'.")
        elif name in PASSED:
            rest[name] = raw
        elif name not in TRANSLATED and name not in DROPPED and name not in OURS:
            shown = name[:_NAME_SHOWN]
            raise NotCarried(shown, f"kproxy sends no '{shown}' to Anthropic.")
    return rest

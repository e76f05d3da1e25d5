"""A well-typed request goes in; nothing comes out, or `Rejected` when it asks for what cannot be.

1. Nothing that a caller sets is ignored in silence: what this version does not do yet is refused.
2. The tier is checked before any work (contract section 9).
"""

from collections.abc import Container
from types import MappingProxyType

from kproxy.errors import Rejected, rejected_field
from kproxy.schema.chat import PRECISION_RANK, ChatRequest
from kproxy.schema.compare import CompareRequest

__all__ = ["PLUGIN_TIERS", "validate"]

PLUGIN_TIERS = MappingProxyType(
    {
        "web-search": "free",
        "gutenberg": "free",
        "code-exec": "free",
        "image-gen": "paid",
        "pdf-reader": "paid",
        "memory": "paid",
    }
)
"""Plugin ids and the tier that each one needs (contract section 9)."""

BRING_TOOLS = frozenset({"code-exec", "image-gen"})
"""Plugins that the model calls."""

SENDS_AWAY = frozenset({"web-search", "gutenberg", "image-gen"})
"""Plugins that send text of the request to somebody who is no provider of the answer."""

_SHOWN = 100  # characters of a caller's own text in a message


def validate(request: ChatRequest, *, paid: bool, offered: Container[str] = frozenset()) -> None:
    """Pass, or raise `Rejected`: 400 with the field in `param`, or 403 `PLUGIN_REQUIRES_PAID`.

    `paid` says whether the caller's tier includes the paid plugins; `offered` are the plugins that
    the operator has configured.
    """
    if isinstance(request, CompareRequest):
        _check_comparison(request)
    _check_precision(request)
    if request.plugins:
        _check_plugins(request, paid, offered)


def _check_comparison(request: CompareRequest) -> None:
    """Contract section 8: whole answers, one choice for each model, all of them asked at once."""
    if request.stream:
        raise rejected_field("stream", "A comparison is not streamed: leave out 'stream'.")
    if (request.n or 1) > 1:
        raise rejected_field("n", "A comparison has one choice for each model: leave out 'n'.")
    if request.extension.strategy in ("hedge", "race"):
        param = "x_kairosroute.strategy"
        raise rejected_field(param, f"A comparison asks every model at once: leave out '{param}'.")
    for plugin in request.plugins or ():
        if plugin in BRING_TOOLS:
            raise rejected_field("plugins", f"The plugin '{plugin}' does not go with a comparison.")


def _check_precision(request: ChatRequest) -> None:
    least, most = request.min_quantization, request.max_quantization
    if least is None or most is None or PRECISION_RANK[least] <= PRECISION_RANK[most]:
        return
    raise rejected_field(
        "min_quantization",
        f"Invalid 'min_quantization': '{least}' is above 'max_quantization' '{most}'.",
    )


def _check_plugins(request: ChatRequest, paid: bool, offered: Container[str]) -> None:
    plugins = tuple(dict.fromkeys(request.plugins or ()))  # duplicates collapse
    for plugin in plugins:
        if plugin not in PLUGIN_TIERS:
            raise rejected_field("plugins", f"Unknown plugin '{plugin[:_SHOWN]}'.")
    for plugin in plugins:
        if PLUGIN_TIERS[plugin] == "paid" and not paid:
            message = f"The plugin '{plugin}' requires a paid account."
            raise Rejected(403, "PLUGIN_REQUIRES_PAID", message, param="plugins")
    for plugin in plugins:
        if plugin not in offered:
            message = f"The plugin '{plugin}' is not configured here."
            raise Rejected(400, "plugin_not_available", message, param="plugins")
        if request.zdr and plugin in SENDS_AWAY:
            message = f"The plugin '{plugin}' sends text to others: it does not go with 'zdr'."
            raise rejected_field("plugins", message)

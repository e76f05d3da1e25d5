"""A comparison's body goes in, a `ChatCall` of a `CompareRequest` comes out; and of a whole reply
the choice that will stand in the comparison's (contract section 8).

1. The models stand in `models` or in `x_kairosroute.models`, whichever path the request took, and
   never in both; where they stand in neither, the router chooses.
2. Whatever is wrong is `Rejected` 400, as in a chat request.
"""

import msgspec
from msgspec import Raw

from kproxy.errors import rejected_field
from kproxy.schema.body import decode_fields, decode_typed
from kproxy.schema.chat import ChatCall, ChatRequest, check_name, check_request, decode_chat
from kproxy.schema.jsonlimits import JsonLimits

__all__ = [
    "COMPARE",
    "LEAST",
    "MOST",
    "CompareRequest",
    "decode_compare",
    "decode_either",
    "first_choice",
]

COMPARE = "kr-compare"
"""The model that stands for a comparison."""

LEAST, MOST = 2, 6
"""Models of one comparison."""


class CompareRequest(ChatRequest, frozen=True, kw_only=True):
    """A chat request to several models. `POST /v1/compare` need not say its `model`."""

    model: str = COMPARE
    models: list[str] | None = None

    @property
    def names(self) -> list[str] | None:
        """The models as the caller names them; None: the router chooses."""
        return self.models if self.models is not None else self.extension.models

    @property
    def named_in(self) -> str:
        """The field that names the models."""
        return "x_kairosroute.models" if self.models is None else "models"


_decode_request = msgspec.json.Decoder(CompareRequest).decode


def decode_either(body: bytes, limits: JsonLimits) -> ChatCall:
    """A chat request; where its model is `kr-compare`, the comparison that it means."""
    call = decode_chat(body, limits)
    return decode_compare(body, limits) if call.request.model == COMPARE else call


def decode_compare(body: bytes, limits: JsonLimits) -> ChatCall:
    """Read a whole body. Its `request` is a `CompareRequest`. Raises `Rejected` 400."""
    fields = decode_fields(body, limits)
    request = decode_typed(body, _decode_request, CompareRequest)
    check_request(request, limits)
    if request.model != COMPARE:
        raise rejected_field(
            "model", f"Invalid 'model': expected '{COMPARE}' or nothing; 'models' says which."
        )
    if request.models is not None and request.extension.models is not None:
        raise rejected_field("models", "'models' and 'x_kairosroute.models' are both given.")
    _check_names(request)
    fields.pop("models", None)  # what is left goes to the providers
    return ChatCall(request, fields)


def _check_names(request: CompareRequest) -> None:
    names, param = request.names, request.named_in
    if names is None:
        return
    if not LEAST <= len(names) <= MOST:
        raise rejected_field(param, f"Invalid '{param}': expected {LEAST} to {MOST} models.")
    if len(set(names)) < len(names):
        raise rejected_field(param, f"Invalid '{param}': a model is named twice.")
    for name in names:
        check_name(name, param)


class _Choices(msgspec.Struct, frozen=True):
    choices: list[dict[str, Raw]]


_decode_choices = msgspec.json.Decoder(_Choices).decode


def first_choice(reply: bytes) -> dict[str, Raw]:
    """The members of the first choice of a reply that its dialect has believed, as they came."""
    return _decode_choices(reply).choices[0]

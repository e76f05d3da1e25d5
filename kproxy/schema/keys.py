"""Bodies of `/api/auth`, in and out (contract section 11).

1. What a caller sets is typed here and judged in `admission/patch.py`. An unknown field is refused:
   nothing that is asked for is ignored in silence.
2. A field that is absent stays as it is (`UNSET`), one that is null is cleared.
3. The structs that hold a secret do not print it.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from kproxy.schema.body import decode_body
from kproxy.schema.jsonlimits import JsonLimits

__all__ = [
    "CreatedKey",
    "DeletedKey",
    "GuardrailsObject",
    "KeyList",
    "KeyObject",
    "KeyPatch",
    "NewKey",
    "decode_new_key",
    "decode_patch",
    "encode",
]

# The upper ends keep a body of 32 MiB from becoming work: nobody has so many providers, and no
# request costs a million dollars.
Names = Annotated[list[str], Meta(max_length=256)]
ProviderKeys = Annotated[dict[str, str | None], Meta(max_length=256)]
Usd = Annotated[float, Meta(ge=0, le=1_000_000)]
Share = Annotated[float, Meta(ge=0, le=1)]


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /api/auth`. `expires_in` is in seconds; None: never."""

    name: str
    expires_in: int | None = None


class KeyPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """`PATCH /api/auth/{key_id}`, in its own spelling. Providers may be named in any."""

    max_cost_per_request_usd: Usd | UnsetType | None = UNSET
    allowed_providers: Names | UnsetType | None = UNSET
    excluded_providers: Names | UnsetType | None = UNSET
    min_quality_threshold: Share | UnsetType | None = UNSET
    provider_keys: ProviderKeys | UnsetType | None = UNSET

    def __repr__(self) -> str:
        given = (name for name in self.__struct_fields__ if getattr(self, name) is not UNSET)
        return f"<KeyPatch {', '.join(given)}>"


class CreatedKey(msgspec.Struct, frozen=True):
    """The only body that ever holds a key. Times are Unix seconds."""

    id: str
    key: str
    name: str
    created_at: int
    expires_at: int | None

    def __repr__(self) -> str:
        return f"<CreatedKey {self.id}>"


class GuardrailsObject(msgspec.Struct, frozen=True, rename="camel"):
    """What is set, empty or null where nothing is. Of provider keys only whose they are.

    `max_cost_per_request_usd` is a number or null, spelled exactly.
    """

    max_cost_per_request_usd: Raw
    allowed_providers: tuple[str, ...]
    excluded_providers: tuple[str, ...]
    min_quality_threshold: float | None
    provider_keys: tuple[str, ...]


class KeyObject(msgspec.Struct, frozen=True):
    """A key without its secret. Times are Unix seconds; None: never."""

    id: str
    name: str
    prefix: str
    created_at: int
    expires_at: int | None
    last_used_at: int | None
    guardrails: GuardrailsObject


class KeyList(msgspec.Struct, frozen=True):
    """The keys of one account."""

    data: tuple[KeyObject, ...]
    object: Literal["list"] = "list"


class DeletedKey(msgspec.Struct, frozen=True):
    """A key that is revoked from now on."""

    id: str
    deleted: bool = True


encode = msgspec.json.Encoder().encode
"""Any of the bodies as JSON."""

_decode_new_key = msgspec.json.Decoder(NewKey).decode
_decode_patch = msgspec.json.Decoder(KeyPatch).decode


def decode_new_key(body: bytes, limits: JsonLimits) -> NewKey:
    """The body of a POST. Raises `Rejected` 400 with `param`."""
    return decode_body(body, _decode_new_key, NewKey, limits)


def decode_patch(body: bytes, limits: JsonLimits) -> KeyPatch:
    """The body of a PATCH. Raises `Rejected` 400 with `param`."""
    return decode_body(body, _decode_patch, KeyPatch, limits)

"""A PATCH of a key in, a `Change` of its guardrails and provider keys out (contract section 11).

1. Providers may be named by slug or display name, in any case; out come slugs. An unknown name is
   refused, and not repeated: a provider key put in the wrong place must not come back in an error.
2. A field that is absent changes nothing. Null or empty clears.
3. `providerKeys` is merged name by name, so that one key can be replaced without knowing the
   others: null or an empty text clears one provider's key, null or `{}` as a whole clears all.
"""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import msgspec
from msgspec import UNSET, UnsetType

from kproxy.admission.guardrails import Guardrails
from kproxy.admission.keys import Secret
from kproxy.catalog.load import Provider
from kproxy.errors import Rejected, rejected_field
from kproxy.money import nanos
from kproxy.schema.keys import KeyPatch

__all__ = ["Change", "provider_names", "to_change"]

_PROVIDER_KEY = re.compile(r"[!-~]{1,4096}")  # what can stand in a header line


class Change(msgspec.Struct, frozen=True):
    """What becomes different; UNSET: stays. Units as in `Guardrails`.

    `provider_keys` maps slugs to new keys, or to None where one is cleared; with `clear_keys` the
    stored ones go first.
    """

    max_cost: int | UnsetType | None = UNSET
    allowed: frozenset[str] | UnsetType = UNSET
    excluded: frozenset[str] | UnsetType = UNSET
    min_quality: float | UnsetType | None = UNSET
    clear_keys: bool = False
    provider_keys: Mapping[str, Secret | None] = MappingProxyType({})

    @property
    def touches_keys(self) -> bool:
        """Whether the stored provider keys become different."""
        return self.clear_keys or bool(self.provider_keys)

    def applied(self, old: Guardrails) -> Guardrails:
        """The guardrails after it."""
        fields = {name: getattr(self, name) for name in Guardrails.__struct_fields__}
        given = {name: value for name, value in fields.items() if value is not UNSET}
        return msgspec.structs.replace(old, **given)


def to_change(patch: KeyPatch, names: Mapping[str, str]) -> Change:
    """Judge a patch. `names` is `provider_names` of the catalog. Raises Rejected 400."""
    keys = patch.provider_keys
    return Change(
        max_cost=_cost(patch.max_cost_per_request_usd),
        allowed=_slugs("allowedProviders", patch.allowed_providers, names),
        excluded=_slugs("excludedProviders", patch.excluded_providers, names),
        min_quality=patch.min_quality_threshold,
        clear_keys=keys is not UNSET and not keys,
        provider_keys=_provider_keys(keys, names) if keys else {},
    )


def provider_names(providers: Iterable[Provider]) -> Mapping[str, str]:
    """Each case-folded spelling of a provider to its slug.

    A slug is always its own; a display name that two providers share names neither.
    """
    known = tuple(providers)
    names: dict[str, str] = {}
    shared = set()
    for provider in known:
        spelling = provider.display.casefold()
        if names.setdefault(spelling, provider.slug) != provider.slug:
            shared.add(spelling)
    for spelling in shared:
        del names[spelling]
    return names | {provider.slug.casefold(): provider.slug for provider in known}


def _cost(usd: float | UnsetType | None) -> int | UnsetType | None:
    if usd is None or usd is UNSET:
        return usd
    try:
        return nanos(usd)
    except ValueError:
        field = "maxCostPerRequestUsd"
        raise rejected_field(field, f"Invalid '{field}': expected at most nine decimals.") from None


def _slugs(
    field: str, given: list[str] | UnsetType | None, names: Mapping[str, str]
) -> frozenset[str] | UnsetType:
    if given is UNSET:
        return UNSET
    slugs = set()
    for at, name in enumerate(given or ()):
        slug = _slug(name, names)
        if slug is None:
            raise _unknown(f"{field}[{at}]", names)
        slugs.add(slug)
    return frozenset(slugs)


def _provider_keys(
    given: Mapping[str, str | None], names: Mapping[str, str]
) -> Mapping[str, Secret | None]:
    keys: dict[str, Secret | None] = {}
    for name, text in given.items():
        slug = _slug(name, names)
        if slug is None:
            raise _unknown("providerKeys", names)
        field = f"providerKeys.{slug}"
        if slug in keys:
            raise rejected_field(field, f"The provider '{slug}' is named more than once.")
        text = (text or "").strip()
        if text and not _PROVIDER_KEY.fullmatch(text):
            reason = "expected 1 to 4096 visible ASCII characters"
            raise rejected_field(field, f"Invalid '{field}': {reason}.")
        keys[slug] = Secret(text) if text else None
    return keys


def _slug(name: str, names: Mapping[str, str]) -> str | None:
    return names.get(name.strip().casefold())


def _unknown(field: str, names: Mapping[str, str]) -> Rejected:
    there = ", ".join(sorted(set(names.values())))
    return rejected_field(field, f"Unknown provider in '{field}': there are {there}.")

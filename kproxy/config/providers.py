"""The `[providers]` tables and the environment in, the providers of this process out.

The house rule is that no provider is implicit, so the environment counts in one case only: when
the file names no provider at all. Otherwise a key that lies about in a shell would make kproxy
spend on a provider the operator has not written down. `[providers.openai]` with nothing in it is
enough to write it down: address and key then come from the usual places. A key from the
environment is never sent to an address other than its provider's usual one.
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from kproxy.admission.keys import Secret
from kproxy.config.checks import check_api_key, check_base_url, check_slug, check_wording
from kproxy.config.document import PlacedError
from kproxy.config.model import ProviderConfig

__all__ = [
    "SEED_PROVIDERS",
    "WELL_KNOWN",
    "WellKnown",
    "complete",
    "from_environment",
    "simulated",
    "spoken",
]


USUAL = "openai"


class WellKnown(NamedTuple):
    """Where a provider's endpoint is, what it speaks, and which variables its users set."""

    slug: str
    base_url: str
    key_variables: tuple[str, ...]
    base_url_variable: str | None = None
    dialect: str = USUAL


WELL_KNOWN = (
    WellKnown("openai", "https://api.openai.com/v1", ("OPENAI_API_KEY",), "OPENAI_BASE_URL"),
    # ANTHROPIC_BASE_URL is not read: in it people write the address without /v1.
    WellKnown(
        "anthropic",
        "https://api.anthropic.com/v1",
        ("ANTHROPIC_API_KEY",),
        dialect="anthropic",
    ),
    WellKnown("xai", "https://api.x.ai/v1", ("XAI_API_KEY",)),
    WellKnown("deepseek", "https://api.deepseek.com/v1", ("DEEPSEEK_API_KEY",)),
    WellKnown("minimax", "https://api.minimax.io/v1", ("MINIMAX_API_KEY",)),
    WellKnown(
        "google",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    ),
    WellKnown("mistral", "https://api.mistral.ai/v1", ("MISTRAL_API_KEY",)),
    WellKnown("groq", "https://api.groq.com/openai/v1", ("GROQ_API_KEY",)),
    WellKnown("together", "https://api.together.xyz/v1", ("TOGETHER_API_KEY",)),
    WellKnown("fireworks", "https://api.fireworks.ai/inference/v1", ("FIREWORKS_API_KEY",)),
)

SEED_PROVIDERS = ("openai", "anthropic", "xai", "deepseek", "minimax")
"""Who serves the seed's five models, and is played when nobody is configured."""


def spoken(slug: str, provider: ProviderConfig) -> str:
    """The dialect that is spoken to it; a usual provider that is played is spoken to as itself."""
    if provider.dialect is not None and provider.dialect != "sim":
        return provider.dialect
    return next((known.dialect for known in WELL_KNOWN if known.slug == slug), USUAL)


def simulated() -> dict[str, ProviderConfig]:
    """The seed's five providers, played by kproxy itself."""
    return {slug: ProviderConfig(dialect="sim") for slug in SEED_PROVIDERS}


def from_environment(environ: Mapping[str, str]) -> dict[str, ProviderConfig]:
    """Every well-known provider whose key is set. Raises PlacedError that names the variable."""
    found = {}
    for known in WELL_KNOWN:
        api_key = _key_from(known, environ)
        if api_key is not None:
            base_url = _address_from(known, environ)
            found[known.slug] = ProviderConfig(
                dialect=known.dialect, base_url=base_url, api_key=api_key
            )
    return found


def complete(slug: str, provider: ProviderConfig, environ: Mapping[str, str]) -> ProviderConfig:
    """A table of the file, checked, with what the environment adds. Raises PlacedError."""
    try:
        check_slug(slug)
        check_wording(provider)
    except ValueError as error:
        field, separator, reason = str(error).partition(": ")
        if separator and field in ProviderConfig.__struct_fields__:
            raise PlacedError(("providers", slug, field), reason) from error
        raise PlacedError(("providers", slug), str(error)) from error
    if provider.dialect == "sim":
        for field in ("base_url", "api_key"):
            if getattr(provider, field) is not None:
                raise PlacedError(("providers", slug, field), "a simulated provider has none")
        if provider.http2:
            raise PlacedError(("providers", slug, "http2"), "a simulated provider has no TLS")
        return provider
    known = next((entry for entry in WELL_KNOWN if entry.slug == slug), None)
    if provider.dialect is None:  # at an address of its own a provider speaks what most speak
        usual = USUAL if provider.base_url is not None else spoken(slug, provider)
        provider = msgspec.structs.replace(provider, dialect=usual)
    if provider.base_url is not None:
        return _checked(slug, provider)
    if known is None:
        raise PlacedError(("providers", slug), "base_url is missing")
    api_key = provider.api_key or _key_from(known, environ)
    if api_key is None:
        variables = " or ".join(known.key_variables)
        raise PlacedError(("providers", slug), f"no api_key, and {variables} is not set")
    return _checked(
        slug,
        msgspec.structs.replace(provider, base_url=_address_from(known, environ), api_key=api_key),
    )


def _checked(slug: str, provider: ProviderConfig) -> ProviderConfig:
    try:
        base_url = check_base_url(provider.base_url or "")
    except ValueError as error:
        raise PlacedError(("providers", slug, "base_url"), str(error)) from error
    if provider.http2 and not base_url.startswith("https://"):
        raise PlacedError(("providers", slug, "http2"), "needs TLS: an https:// base_url")
    return msgspec.structs.replace(provider, base_url=base_url)


def _key_from(known: WellKnown, environ: Mapping[str, str]) -> Secret | None:
    for variable in known.key_variables:
        value = environ.get(variable, "").strip()
        if value:
            try:
                return Secret(check_api_key(value))
            except ValueError as error:
                raise PlacedError((variable,), str(error)) from error
    return None


def _address_from(known: WellKnown, environ: Mapping[str, str]) -> str:
    variable = known.base_url_variable
    value = environ.get(variable, "").strip() if variable else ""
    if not value or variable is None:
        return known.base_url
    try:
        return check_base_url(value)
    except ValueError as error:
        raise PlacedError((variable,), str(error)) from error

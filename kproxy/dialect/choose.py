"""A configured dialect's name and the provider's host in, the dialect out."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from kproxy.dialect.anthropic.messages import Anthropic
from kproxy.dialect.base import Dialect
from kproxy.dialect.openai import OpenAI
from kproxy.dialect.quirks import quirks_of

__all__ = ["DIALECTS", "dialect_for"]


def _openai(host: str) -> Dialect:
    return OpenAI(quirks_of(host))


def _anthropic(_: str) -> Dialect:
    return Anthropic()


DIALECTS: Mapping[str, Callable[[str], Dialect]] = MappingProxyType(
    {"openai": _openai, "anthropic": _anthropic}
)
"""By the name that the configuration has for them."""


def dialect_for(name: str, host: str) -> Dialect:
    """One instance for one endpoint. Raises KeyError for a name that is none."""
    return DIALECTS[name](host)

"""One value of the configuration in, the value in its final form out, or what is wrong with it.

Every function raises ValueError with a reason that does not repeat the value: an operator who has
put a key into the wrong place must not find it in a log.
"""

import re
from ipaddress import IPv6Address
from urllib.parse import urlsplit

from kproxy.catalog.load import ALL_CAPABILITIES
from kproxy.config.model import Address, ModelConfig, ProviderConfig
from kproxy.dialect.choose import DIALECTS
from kproxy.money import nanos

__all__ = [
    "check_address",
    "check_api_key",
    "check_base_url",
    "check_model",
    "check_port",
    "check_slug",
    "check_wording",
]

QUANTIZATIONS = ("fp32", "fp16", "bf16", "fp8", "int8", "int4")  # contract section 2
CAPABILITIES = tuple(sorted(ALL_CAPABILITIES))
RESERVED_IDS = ("auto", "kr-auto", "kr-compare")  # contract section 2: they are ways to route

_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})")
_SLUG = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_MODEL_NAME = re.compile(r"[!-~]{1,256}")
_URL = re.compile(r"[!-~]+")
_KEY = re.compile(r"[!-~]{1,4096}")
_DISPLAY_LIMIT = 64  # characters


def check_address(text: str) -> Address:
    """`HOST:PORT` or `[IPV6]:PORT`; a name stands for every address it has."""
    match = _ADDRESS.fullmatch(text)
    if match is None:
        hint = "an IPv6 address stands in brackets, as in [::1]:4000"
        raise ValueError(f"not an address: write HOST:PORT, as in 127.0.0.1:4000; {hint}")
    ipv6, name, port = match.groups()
    if ipv6:
        try:
            return Address(str(IPv6Address(ipv6)), check_port(port))
        except ValueError as error:
            raise ValueError("not an IPv6 address and a port") from error
    return Address(name, check_port(port))


def check_port(text: str) -> int:
    """A port as digits, 0 to 65535."""
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > 65_535:
        raise ValueError("not a port: 0 to 65535")
    return int(text)


def check_base_url(text: str) -> str:
    """An http or https address, without credentials and query, the slashes at its end removed."""
    if not _URL.fullmatch(text):
        raise ValueError("not an address: only visible ASCII characters stand in one")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueError("not an address: the host or the port is malformed") from error
    if parts.scheme not in ("http", "https"):
        raise ValueError("must start with http:// or https://")
    if "@" in parts.netloc:
        raise ValueError("must not hold credentials: use api_key")
    if not parts.hostname or port == 0:
        raise ValueError("has no host" if not parts.hostname else "has port 0")
    if "?" in text or "#" in text:
        raise ValueError("must not have a query or a fragment")
    return text.rstrip("/")


def check_api_key(text: str) -> str:
    """A provider key that can stand in a header line (RFC 6750 section 2.1 is stricter still)."""
    text = text.strip()
    if not _KEY.fullmatch(text):
        raise ValueError("not a key: 1 to 4096 visible ASCII characters")
    return text


def check_slug(text: str) -> str:
    """A provider's name in headers and in `provider/model`."""
    if not _SLUG.fullmatch(text):
        raise ValueError(
            "not a provider's name: lower-case letters, digits, '-', '_', '.', at most 64"
        )
    return text


def check_wording(provider: ProviderConfig) -> None:
    """The fields of a provider that are words: `dialect`, `models`, `display`, by name."""
    if provider.dialect not in (None, "sim", *DIALECTS):
        raise ValueError('dialect: must be "openai", "anthropic" or "sim"')
    if provider.models not in (None, "any"):
        raise ValueError('models: must be "any" or absent')
    display = provider.display
    if display is not None and not (
        display.strip() and display.isprintable() and len(display) <= _DISPLAY_LIMIT
    ):
        raise ValueError(f"display: must be 1 to {_DISPLAY_LIMIT} printable characters")


def check_model(model: ModelConfig) -> None:
    """The fields of a model row, each by name; not whether its provider exists."""
    if not _MODEL_NAME.fullmatch(model.id):
        raise ValueError("id: must be 1 to 256 visible ASCII characters without spaces")
    if model.id in RESERVED_IDS:
        raise ValueError(f'id: "{model.id}" is a way to route and cannot name a model')
    if model.upstream and not model.upstream.isprintable():
        raise ValueError("upstream: must be printable")
    if model.price is not None:
        for name in model.price.__struct_fields__:
            value = getattr(model.price, name)
            try:
                if value is not None:
                    nanos(value)
            except ValueError as error:
                raise ValueError(f"price.{name}: {error}") from error
    for name in model.capabilities or ():
        if name not in CAPABILITIES:
            raise ValueError(f"capabilities: there are {', '.join(CAPABILITIES)}")
    if model.quantization is not None and model.quantization not in QUANTIZATIONS:
        raise ValueError(f"quantization: must be one of {', '.join(QUANTIZATIONS)}")
    most, window = model.max_output_tokens, model.context_tokens
    if most is not None and window is not None and most > window:
        raise ValueError("max_output_tokens: is more than context_tokens")

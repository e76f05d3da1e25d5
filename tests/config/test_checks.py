"""Single values: what is taken, in which form, and what is refused without being repeated."""

import pytest

from kproxy.config import Address, ModelConfig, PriceConfig, ProviderConfig
from kproxy.config.checks import (
    check_address,
    check_api_key,
    check_base_url,
    check_model,
    check_port,
    check_slug,
    check_wording,
)


@pytest.mark.parametrize(
    ("text", "address", "spelled"),
    [
        ("127.0.0.1:4000", ("127.0.0.1", 4000), "127.0.0.1:4000"),
        ("localhost:0", ("localhost", 0), "localhost:0"),
        ("0.0.0.0:65535", ("0.0.0.0", 65535), "0.0.0.0:65535"),
        ("[::1]:4000", ("::1", 4000), "[::1]:4000"),
        ("[0:0:0:0:0:0:0:1]:4000", ("::1", 4000), "[::1]:4000"),
        ("[::ffff:1.2.3.4]:1", ("::ffff:102:304", 1), "[::ffff:102:304]:1"),
    ],
)
def test_addresses(text, address, spelled):
    assert check_address(text) == Address(*address)
    assert str(check_address(text)) == spelled


@pytest.mark.parametrize(
    "text",
    [
        "", "4000", ":4000", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "::1:4000", "[::1]",
        "[:::1]:4000", "[1.2.3.4]:4000", "a b:1", "http://a:1", "a:1/", "a:-1", "a:+1", "a:\u0661",
        "a:1\n", "unix:/run/kproxy.sock",
    ],
)  # fmt: skip
def test_what_is_no_address(text):
    with pytest.raises(ValueError, match=r"address|port|unix"):
        check_address(text)


@pytest.mark.parametrize("text", ["0", "4000", "65535"])
def test_ports(text):
    assert check_port(text) == int(text)


@pytest.mark.parametrize("text", ["", "65536", "-1", " 1", "1.0", "http", "\u0661", "999999"])
def test_what_is_no_port(text):
    with pytest.raises(ValueError, match="not a port"):
        check_port(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://api.openai.com/v1", "https://api.openai.com/v1"),
        ("http://127.0.0.1:9000/v1/", "http://127.0.0.1:9000/v1"),
        ("http://[::1]:9000", "http://[::1]:9000"),
        ("HTTP://host", "HTTP://host"),
    ],
)
def test_base_urls(text, expected):
    assert check_base_url(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "visible ASCII"),
        ("api.openai.com", "must start with"),
        ("ftp://host", "must start with"),
        ("file:///etc/passwd", "must start with"),
        ("http://", "has no host"),
        ("http://:80", "has no host"),
        ("http://host:0", "port 0"),
        ("http://host:70000", "malformed"),
        ("http://host:x", "malformed"),
        ("http://[::1", "malformed"),
        ("http://user:canary@host", "credentials"),
        ("http://canary@host", "credentials"),
        ("http://host/?canary", "query"),
        ("http://host/#canary", "query or a fragment"),
        ("http://host?", "query"),
        ("http://host/\r\nx: canary", "visible ASCII"),
        ("http://h\u00f6st", "visible ASCII"),
        ("http://ho st", "visible ASCII"),
    ],
)
def test_what_is_no_base_url(text, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        check_base_url(text)
    assert "canary" not in str(caught.value)


def test_keys_are_trimmed_and_can_stand_in_a_header():
    assert check_api_key(" sk-1 \n") == "sk-1"
    for text in ("", "  ", "a b", "a\r\nb", "a\x00", "kl\u00e9", "x" * 4_097):
        with pytest.raises(ValueError, match="not a key"):
            check_api_key(text)


def test_slugs():
    for text in ("openai", "a", "x-1.b_c", "x" * 64):
        assert check_slug(text) == text
    for text in ("", "OpenAI", "a/b", "-a", "a b", "a\n", "x" * 65, "\u00e9"):
        with pytest.raises(ValueError, match="provider's name"):
            check_slug(text)


def test_dialects_that_there_are():
    for dialect in (None, "openai", "anthropic", "sim"):
        check_wording(ProviderConfig(dialect=dialect))
    with pytest.raises(ValueError, match=r"^dialect: must be") as caught:
        check_wording(ProviderConfig(dialect="canary"))
    assert "canary" not in str(caught.value)


def test_other_words_of_a_provider():
    check_wording(ProviderConfig(models="any", display="Ac\u00e9me"))
    with pytest.raises(ValueError, match=r"^models: "):
        check_wording(ProviderConfig(models="all"))
    for display in ("", " ", "a\nb", "x" * 65):
        with pytest.raises(ValueError, match=r"^display: "):
            check_wording(ProviderConfig(display=display))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"id": ""}, "^id: "),
        ({"id": "a b"}, "^id: "),
        ({"id": "a\n"}, "^id: "),
        ({"id": "auto"}, "^id: .*way to route"),
        ({"id": "kr-compare"}, "^id: .*way to route"),
        ({"upstream": "a\r\nb"}, "^upstream: "),
        ({"price": PriceConfig(input=-1, output=0)}, r"^price\.input: "),
        ({"price": PriceConfig(input=0, output=1e-10)}, r"^price\.output: "),
        ({"price": PriceConfig(input=0, output=0, request=-0.1)}, r"^price\.request: "),
        ({"capabilities": ("tools", "magic")}, "^capabilities: there are json, tools"),
        ({"quantization": "fp9"}, "^quantization: must be one of fp32,"),
        ({"context_tokens": 10, "max_output_tokens": 11}, "^max_output_tokens: "),
    ],
)
def test_what_is_no_model(fields, reason):
    with pytest.raises(ValueError, match=reason):
        check_model(ModelConfig(**{"id": "m", "provider": "p"} | fields))


def test_a_whole_model():
    check_model(
        ModelConfig(
            id="meta/llama-4",
            provider="p",
            upstream="accounts/x/llama-4",
            price=PriceConfig(input=0.27, output=1, cached_input=0.0028, cache_write=0, request=0),
            context_tokens=10,
            max_output_tokens=10,
            capabilities=("tools", "json"),
            quantization="fp8",
        )
    )

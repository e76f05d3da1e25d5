"""Which dialect a name and an address stand for."""

import json

import msgspec
import pytest

from kproxy.dialect.anthropic.messages import Anthropic
from kproxy.dialect.choose import DIALECTS, dialect_for
from kproxy.dialect.openai import OpenAI


def test_names() -> None:
    assert isinstance(dialect_for("openai", "h"), OpenAI)
    assert isinstance(dialect_for("anthropic", "h"), Anthropic)
    assert set(DIALECTS) == {"openai", "anthropic"}
    with pytest.raises(KeyError):
        dialect_for("canary", "h")


@pytest.mark.parametrize(
    ("host", "name"), [("api.openai.com", "max_completion_tokens"), ("h", "max_tokens")]
)
def test_the_address_brings_its_quirks(host: str, name: str) -> None:
    sent = dialect_for("openai", host).encode({"max_tokens": msgspec.Raw(b"5")}, "m", False)
    assert json.loads(sent) == {"model": "m", name: 5}

"""The envelope has its four keys, whatever the texts are."""

import json

import pytest

from kproxy.schema.errors import error_body


def test_all_four_keys() -> None:
    assert error_body("no", "invalid_request_error", None, None) == (
        b'{"error":{"message":"no","type":"invalid_request_error","param":null,"code":null}}'
    )


@pytest.mark.parametrize("text", ['"', "\\", "\n\x00", "é😀", "a" * 10_000])
def test_texts_are_escaped(text: str) -> None:
    assert json.loads(error_body(text, text, text, text))["error"] == dict.fromkeys(
        ("message", "type", "param", "code"), text
    )


def test_what_is_no_unicode_is_replaced() -> None:
    assert json.loads(error_body("a\ud800", "t", None, None))["error"]["message"] == "a?"

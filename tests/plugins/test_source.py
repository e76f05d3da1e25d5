"""Foreign text made plain, and failures without foreign words."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.plugins.source import PluginFailed, check_status, decode, plain, web_url


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("a <strong>bold</strong> word", "a bold word"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        (" two\n\tlines ", "two lines"),
        ("\x00\x1b[31m\u200bred", "[31mred"),
        (None, ""),
        (["a"], ""),
        ("abcdefghijk", "abcdefghi…"),
        ("abcdefghij", "abcdefghij"),
    ],
)
def test_plain_text(text, made):
    assert plain(text, 10 if "abc" in str(text) else 100) == made


@given(st.text(max_size=200), st.integers(1, 50))
def test_plain_text_is_one_printable_line_within_its_limit(text, limit):
    made = plain(text, limit)
    assert made.isprintable()
    assert len(made) <= limit
    assert made == made.strip()


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "ftp://a.example", "", None, 1, "http://", "/x"]
)
def test_what_cannot_be_cited(url):
    assert web_url(url) == ""


def test_what_can_be_cited():
    assert web_url("https://a.example/x?y#z") == "https://a.example/x?y#z"
    assert web_url("https://a.example/x y") == ""
    assert web_url("https://" + "a" * 2_041) == ""


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"a": "x"}', b"\xff", b'{"a":' * 50_000])
def test_other_json_is_a_failure(body):
    decoder = msgspec.json.Decoder(dict[str, int])
    with pytest.raises(PluginFailed, match="someone sent something else"):
        decode(decoder, body, "someone")
    assert decode(decoder, b'{"a": 1}', "someone") == {"a": 1}


@pytest.mark.parametrize(
    ("status", "reason"),
    [(401, "key"), (403, "key"), (429, "enough"), (432, "enough"), (500, "500"), (204, "204")],
)
def test_a_status_is_a_reason(status, reason):
    with pytest.raises(PluginFailed, match=reason):
        check_status(status, "someone")
    check_status(200, "someone")

"""References are replaced by what they name, or refused by name."""

from pathlib import Path

import pytest

from kproxy.config.document import PlacedError
from kproxy.config.references import References

ENVIRON = {"KEY": "canary", "EMPTY": "", "NESTED": "${env:KEY}"}


@pytest.fixture
def references(tmp_path):
    (tmp_path / "key").write_text("from-file\r\n")
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"canary\xff")
    (tmp_path / "long").write_bytes(b"x" * (64 * 1024 + 1))
    (tmp_path / "fits").write_bytes(b"x" * (64 * 1024))
    return References(ENVIRON, tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("${env:KEY}", "canary"),
        ("a-${env:KEY}-${env:KEY}", "a-canary-canary"),
        ("${env:KEY:-other}", "canary"),
        ("${env:NONE:-other}", "other"),
        ("${env:EMPTY:-other}", "other"),
        ("${env:NONE:-}", ""),
        ("${env:NESTED}", "${env:KEY}"),
        ("${file:key}", "from-file"),
        ("$${env:KEY}", "${env:KEY}"),
        ("$KEY $", "$KEY $"),
        ("", ""),
    ],
)
def test_text(references, text, expected):
    assert references.resolve(text) == expected


def test_a_file_may_be_named_absolutely_and_at_its_limit(tmp_path, references):
    assert references.resolve(f"${{file:{tmp_path}/key}}") == "from-file"
    assert len(references.resolve("${file:fits}")) == 64 * 1024


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("${env:NONE}", "the environment variable NONE is not set"),
        ("${env:EMPTY}", "the environment variable EMPTY is empty"),
        ("${env:}", "needs the name of a variable"),
        ("${env:A B}", "needs the name of a variable"),
        ("${KEY}", "a reference is"),
        ("${}", "a reference is"),
        ("${file:}", "a reference is"),
        ("${vault:x}", "a reference is"),
        ("${env:KEY", "without its '}'"),
        ("${file:none}", "none cannot be read: No such file"),
        ("${file:\0}", "cannot be read: not a file name"),
        ("${file:.}", "cannot be read: Is a directory"),
        ("${file:empty}", "empty is empty"),
        ("${file:long}", "longer than 65536 bytes"),
        ("${file:binary}", "binary is not UTF-8 text"),
    ],
)
def test_what_is_missing_is_named_and_no_value_is_repeated(references, text, reason):
    with pytest.raises(ValueError, match=reason.replace("$", r"\$")) as caught:
        references.resolve(text)
    assert "canary" not in str(caught.value)


def test_a_tree_is_resolved_everywhere_and_problems_have_their_path(references):
    tree = {"a": ["${env:KEY}", 1, True], "b": {"c": "${file:key}"}}
    resolved = references.resolve_tree(tree)
    assert resolved == {"a": ["canary", 1, True], "b": {"c": "from-file"}}
    with pytest.raises(PlacedError) as caught:
        references.resolve_tree({"a": [{"b": "${env:NONE}"}]})
    assert caught.value.steps == ("a", 0, "b")


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_none_is_refused(number):
    with pytest.raises(PlacedError, match="finite") as caught:
        References({}, Path()).resolve_tree({"a": number})
    assert caught.value.steps == ("a",)

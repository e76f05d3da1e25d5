"""The shape of /v1/moderations, both ways."""

import json

import pytest

from kproxy.guard.moderation import question, verdict


def test_a_question() -> None:
    assert json.loads(question(["a", "b"], None)) == {"input": "a\nb"}
    assert json.loads(question(["a"], "m")) == {"input": "a", "model": "m"}


def answer(*results: object) -> bytes:
    return json.dumps({"id": "modr-1", "results": results}).encode()


def test_a_verdict() -> None:
    clean = {"flagged": False, "categories": {"hate": False}, "category_scores": {"hate": 0.1}}
    bad = {"flagged": True, "categories": {"hate": True, "violence": False, "self-harm": True}}
    assert verdict(answer(clean)) is None
    assert verdict(answer(clean, bad)) == ("hate", "self-harm")
    assert verdict(answer({"flagged": True})) == ()


def test_names_that_are_no_names_are_not_passed_on() -> None:
    names = ["fine", "line\nbreak", "x" * 65, *map(str, range(20))]
    found = verdict(answer({"flagged": True, "categories": dict.fromkeys(names, True)}))
    assert found == ("fine", *map(str, range(9)))


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"results":[]}', b'{"results":[{}]}', b"\xff"]
)
def test_what_is_no_answer(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        verdict(body)

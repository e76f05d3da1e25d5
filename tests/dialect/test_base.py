"""What every dialect says of a chunk and a reply: values, and one question asked of them."""

import msgspec
import pytest

from kproxy.dialect.anthropic.messages import Anthropic
from kproxy.dialect.base import ChunkFacts, Dialect, ReplyFacts
from kproxy.dialect.openai import OpenAI

PLAIN = ChunkFacts(token=True, text=4, finished=(), empty=False, usage=None, tagged=False)


@pytest.mark.parametrize(
    ("change", "plain"),
    [
        ({}, True),
        ({"token": False, "text": 0}, True),
        ({"finished": (0,)}, False),
        ({"empty": True}, False),
        ({"tagged": True}, False),
    ],
)
def test_a_plain_chunk_neither_ends_anything_nor_must_change(
    change: dict[str, object], plain: bool
) -> None:
    assert msgspec.structs.replace(PLAIN, **change).plain is plain


def test_facts_are_values() -> None:
    with pytest.raises(AttributeError):
        PLAIN.text = 5  # type: ignore[misc]
    assert ReplyFacts(None, 0, False, None) == ReplyFacts(None, 0, False, None)


def test_the_dialects_answer_every_question() -> None:
    dialects: list[Dialect] = [OpenAI(), Anthropic()]
    asked = {name for name in vars(Dialect) if not name.startswith("_")}
    asked |= set(Dialect.__annotations__)
    assert asked == {
        *("path", "credentials", "encode", "refuses", "events", "completion"),
        *("read_chunk", "read_reply", "read_error"),
    }
    assert all(hasattr(dialect, name) for dialect in dialects for name in asked)

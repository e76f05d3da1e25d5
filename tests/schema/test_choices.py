"""What may stand at a place of which msgspec says that nothing fits there."""

import enum
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta

from kproxy.schema.chat import ChatRequest
from kproxy.schema.choices import choices


class Colour(enum.Enum):
    """A set of words."""

    RED = "red"
    BLUE = "blue"


class Inner(msgspec.Struct):
    """What lies below."""

    mode: Literal["slow", "fast"] | None = None
    colour: Colour | None = None


class Outer(msgspec.Struct, rename="camel"):
    """Ways to lie below."""

    some_rows: tuple[Inner, ...] = ()
    by_name: dict[str, Inner] = {}
    many: Annotated[list[Literal["a", "b"]], Meta(max_length=3)] | None = None
    shares: Mapping[Literal["p", "q"], float] = {}
    number: Literal[1, 2] | None = None


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"someRows": [{}, {"mode": "x"}]}, ("slow", "fast")),
        ({"someRows": [{"colour": "x"}]}, ("red", "blue")),
        ({"byName": {"a.b[0]": {"mode": "x"}}}, ("slow", "fast")),
        ({"many": ["a", "x"]}, ("a", "b")),
        ({"shares": {"x": 1}}, ("p", "q")),
        ({"many": ["a", 1]}, ()),
        ({"number": 3}, ()),
        ({"someRows": 1}, ()),
    ],
)
def test_the_words_of_a_place(value: object, words: tuple[str, ...]) -> None:
    for read in (
        lambda: msgspec.convert(value, Outer),
        lambda: msgspec.json.decode(msgspec.json.encode(value), type=Outer),
    ):
        with pytest.raises(msgspec.ValidationError) as caught:
            read()
        reason, _, place = str(caught.value).rpartition(" - at `")
        assert sorted(choices(Outer, reason, place)) == sorted(words)


def test_of_a_request() -> None:
    reason = "Invalid enum value 'fast'"
    strategies = ("auto", "hedge", "race", "single")
    assert choices(ChatRequest, reason, "$.x_kairosroute.strategy`") == strategies
    assert choices(ChatRequest, reason, "$.nothing.here`") == ()
    assert choices(ChatRequest, reason, "") == ()

"""Who may be meant by a name."""

import pytest

from kproxy.routing.candidates import AUTO, is_auto


@pytest.mark.parametrize("name", sorted(AUTO))
def test_what_asks_us_to_choose(name: str) -> None:
    assert is_auto(name)


@pytest.mark.parametrize("name", ["Auto", "auto ", "kr-compare", "openai/auto", ""])
def test_what_does_not(name: str) -> None:
    assert not is_auto(name)

"""Which required layers do not hold."""

from kproxy.plugins.layers import ALWAYS, LAYERS, Layer, lacking

HELD = Layer("seccomp", True, "tried, and refused")
OPEN = Layer("landlock", False, "a file could be opened")


def test_nothing_lacks_where_all_hold() -> None:
    assert lacking([HELD, OPEN], ["seccomp"]) == ()


def test_a_layer_that_does_not_hold_lacks_with_its_reason() -> None:
    assert lacking([HELD, OPEN], ["landlock", "seccomp"]) == (OPEN,)


def test_a_layer_that_was_not_found_lacks() -> None:
    (missing,) = lacking([HELD], ["bubblewrap"])
    assert (missing.name, missing.holds) == ("bubblewrap", False)
    assert missing.why


def test_what_is_always_required_are_layers() -> None:
    assert set(ALWAYS) <= set(LAYERS)

"""The flow's plain way, where an event is forwarded as it came, and the ways on which it is looked
into: with an editor that changes nothing, with a transcript, with tools that nobody calls.

All of them must come out the same, byte for byte and piece by piece: whoever turns a rule on, or
rescue, sees the same stream as before where nothing has to be done.
"""

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kproxy.dialect.calls import Calls
from kproxy.dialect.editor import Edited
from kproxy.dialect.flow import Flow, Wanted
from kproxy.dialect.openai import OpenAI
from kproxy.dialect.transcript import Transcript
from kproxy.errors import Fault
from kproxy.wire.sse import EventReader
from tests.fakes.cuts import cut, positions
from tests.fakes.event_streams import BAD, any_streams
from tests.fakes.grammar import MANY
from tests.fakes.stream import DONE, ROLE, STOP, TAG

Make = Callable[[Wanted], Flow]


class Nothing:
    """An editor that lets everything pass."""

    def text(self, choice: int, piece: str) -> str:
        return piece

    def end(self, choice: int, finish: str) -> str:
        return ""


def plain(wanted: Wanted, transcript: Transcript | None = None) -> Flow:
    return Flow(OpenAI(), EventReader(4096, 8192), wanted, lambda _: TAG, transcript)


def edited(wanted: Wanted) -> Flow:
    flow = plain(wanted)
    flow.edited = Edited([Nothing(), Nothing()])
    return flow


def with_tools(wanted: Wanted) -> Flow:
    flow = plain(wanted)
    flow.calls = Calls({"ours"})
    return flow


GENERAL: dict[str, Make] = {
    "edited": edited,
    "remembered": lambda wanted: plain(wanted, Transcript()),
    "with tools": with_tools,
}


def read(flow: Flow, pieces: list[bytes], adopted: int) -> list[object]:
    """What each piece becomes; adopted before that one."""
    found: list[object] = []
    try:
        for number, piece in enumerate(pieces):
            if number == adopted:
                found.append(flow.adopt())
            found.append(flow.take(piece))
        if not flow.adopted:
            found.append(flow.adopt())
        found.append(flow.end())
    except Fault as fault:
        found += [flow.unsent, fault.kind]
    return [*found, flow.state, flow.committed, flow.text, flow.usage, flow.cut_short]


@pytest.mark.parametrize("way", GENERAL)
@MANY
@given(any_streams(), positions, st.integers(0, 3), st.booleans(), st.integers(1, 2))
@example([ROLE, STOP, BAD[-1], DONE], [], 0, False, 1)
def test_every_way_comes_out_the_same(
    way: str, events: list[bytes], at: list[int], adopted: int, wants: bool, choices: int
) -> None:
    pieces, wanted = cut(b"".join(events), at), Wanted(choices, wants)
    found = read(GENERAL[way](wanted), pieces, adopted)
    assert found == read(plain(wanted), pieces, adopted)

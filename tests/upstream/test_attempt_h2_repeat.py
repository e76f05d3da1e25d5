"""What is not sent once more over HTTP/2: a request that the provider may have worked on."""

import pytest
import trio
from trio.testing import MockClock

from kproxy.errors import Fault, FaultKind
from kproxy.wire.h2_frames import Code
from tests.fakes.attempted import attempt, whole
from tests.fakes.h2_answers import left
from tests.fakes.h2_frames import headers
from tests.fakes.h2_provider import Play, Turn, answering, site


async def fails(turn: Turn) -> None:
    await turn.cut(Code.INTERNAL_ERROR)


async def cancels(turn: Turn) -> None:
    await turn.cut(Code.CANCEL)


async def objects(turn: Turn) -> None:
    await turn.cut(Code.PROTOCOL_ERROR)


async def mumbles(turn: Turn) -> None:
    turn.server.engine.reset_stream(turn.stream)  # its engine does not see the head
    turn.server.engine.data_to_send()
    await turn.server.send(headers(turn.stream, [(":status", "999")], end=True))


async def leaves(turn: Turn) -> None:
    await turn.server.send(left(turn.stream, Code.INTERNAL_ERROR))
    turn.server.link.close()


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (fails, FaultKind.RESET),
        (cancels, FaultKind.RESET),
        (objects, FaultKind.BAD_FRAMING),
        (mumbles, FaultKind.BAD_FRAMING),
        (leaves, FaultKind.CLOSED_EARLY),
    ],
)
async def test_of_which_it_has_spoken(
    autojump_clock: MockClock, act: Play, kind: FaultKind
) -> None:
    """On a kept connection, and within the second in which it might have been a stale one."""
    asked: list[int] = []

    async def play(turn: Turn) -> None:
        await turn.asked()
        asked.append(turn.stream)
        if asked == [1, 3]:
            await trio.sleep(0.5)
            await act(turn)
        else:
            await answering(b"ok")(turn)

    async with site(play) as made:
        assert await whole(attempt(made)) == b"ok"  # type: ignore[arg-type]
        await trio.sleep(2)
        with pytest.raises(Fault) as fault:
            await whole(attempt(made))  # type: ignore[arg-type]
        assert (fault.value.kind, asked) == (kind, [1, 3])

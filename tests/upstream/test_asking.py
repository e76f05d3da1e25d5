"""One question and its answer: every end leaves the connection closed or kept."""

import pytest
import trio

from kproxy.errors import Fault, FaultKind
from kproxy.upstream.asking import ask
from tests.fakes.scripted import Act, Reached, ok


async def test_an_answer(autojump_clock, nursery) -> None:
    reached = Reached.by(nursery, [[(0.1, ok(b'{"a":1}'))], [(0.1, ok(b"{}"))]])
    assert await ask(reached.endpoint, 2, b'{"input":"x"}') == b'{"a":1}'
    assert await ask(reached.endpoint, 2, b"{}") == b"{}"
    [connection] = reached.provider.connections
    assert connection.requests[0].startswith(b"POST ")
    assert connection.requests[0].endswith(b'\r\n\r\n{"input":"x"}')


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ([(0.1, ok(b"{}", 500))], FaultKind.UNAVAILABLE),
        ([(0.1, ok(b"{}", 400))], FaultKind.UNAVAILABLE),
        ([(0.1, ok(b"{}", 401))], FaultKind.CREDENTIAL),
        ([(0.1, ok(b"{}")[:-1]), (0, Act.CLOSE)], FaultKind.CLOSED_EARLY),
        ([(9.0, ok(b"{}"))], FaultKind.TOTAL_TIMEOUT),
        ([(0.1, ok(b"{}")[:-1]), (9.0, b"}")], FaultKind.TOTAL_TIMEOUT),
    ],
)
async def test_what_may_go_wrong(autojump_clock, nursery, script, kind) -> None:
    reached = Reached.by(nursery, [script])
    with pytest.raises(Fault) as caught:
        await ask(reached.endpoint, 2, b"{}")
    assert caught.value.kind is kind
    assert trio.current_time() <= 2
    assert reached.pool.statistics().leased == 0


async def test_an_answer_without_end_is_not_read(autojump_clock, nursery) -> None:
    reached = Reached.by(nursery, [[(0.1, b"HTTP/1.1 200 X\r\ncontent-length: 99999999\r\n\r\n")]])
    with pytest.raises(Fault) as caught:
        await ask(reached.endpoint, 2, b"{}")
    assert caught.value.kind is FaultKind.TOO_LARGE


async def test_who_asks_may_leave(autojump_clock, nursery) -> None:
    reached = Reached.by(nursery, [[(9.0, ok(b"{}"))]])
    with trio.move_on_after(1):
        await ask(reached.endpoint, 5, b"{}")
    assert (trio.current_time(), reached.pool.statistics().leased) == (1, 0)

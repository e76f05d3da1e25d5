"""The plain path of a chunked body, which looks at whole chunks alone, against the general one.

Both are fed the same pieces. The plain path may say of a piece that it can go on as it came
(`verbatim`); then what the piece holds is framing and payload of whole chunks and nothing else.
"""

from hypothesis import example, given
from hypothesis import strategies as st

from kproxy.wire.chunked import ChunkedBody
from kproxy.wire.events import ProtocolError
from kproxy.wire.limits import H1Limits
from tests.fakes.cuts import cut, positions
from tests.fakes.grammar import MANY, chunked, mutated

LIMITS = H1Limits(chunk_line=60, trailers=60)


def read(pieces: list[bytes], *, plain: bool) -> tuple[object, ...]:
    """Payload by piece, what is behind the end, whether it came, and whether it was refused."""
    body, found = ChunkedBody(LIMITS), []
    try:
        for piece in pieces:
            payload = body.feed(piece) if plain else body._feed(piece)
            if body.verbatim:
                again = ChunkedBody(LIMITS)
                assert again._feed(piece) == payload
                assert b";" not in piece.replace(payload, b"") or b";" in payload
                assert (again.complete, repr(again)) == (False, "<ChunkedBody size>")
            found.append(payload)
        body.eof()
    except ProtocolError as error:
        return found, error.status, error.message
    return found, body.excess, body.complete


@MANY
@given(mutated(chunked()), st.sampled_from([b"", b"GET /"]), positions)
@example(b"5\r\nhello\r\n0\r\n\r\n", b"", [10])
@example(b"0\r\n\r\n", b"", [])
@example(b"00\r\n\r\n\r\n", b"", [])
def test_both_paths_say_the_same(wire: bytes, behind: bytes, at: list[int]) -> None:
    pieces = cut(wire + behind, at)
    assert read(pieces, plain=True) == read(pieces, plain=False)

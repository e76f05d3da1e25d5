"""The pattern of one stream's chunks: what is learned of one, and what fits it."""

import pytest

from kproxy.dialect.lane import LONGEST, Lane
from tests.fakes.stream import ONE, ROLE, STOP, USAGE, chunk, event


def framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def lane(of: bytes = ONE, text: int = 3) -> Lane:
    found = Lane.learn(of, text)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("two", 3),
        ("", 0),
        ("two words, and more", 19),
        ('a "quoted" one\n', 18),  # the bytes between the quotes, as a reader of JSON counts them
        ("x" * 500, 500),
    ],
)
def test_another_text_fits(said: str, text: int) -> None:
    assert lane().text(framed(chunk({"content": said}))) == text


def test_text_beyond_ascii_fits() -> None:
    raw = ONE.replace(b"One", "Zürich 東京 🙂".encode())
    assert lane().text(framed(raw)) == len("Zürich 東京 🙂".encode())


def test_a_padded_event_fits_with_another_padding() -> None:
    first = chunk({"content": "One"}, obfuscation="abc", usage=None)
    found = lane(first)
    for padding in ("", "x", "longer than before"):
        other = chunk({"content": "two"}, obfuscation=padding, usage=None)
        assert found.text(framed(other)) == 3
    assert found.text(framed(chunk({"content": "two"}, usage=None))) == -1


def test_spaces_as_other_servers_write_them() -> None:
    first = b'data: {"choices": [{"index": 0, "delta": {"content": "One"}}]}\n\n'
    assert lane(first).text(framed(first.replace(b"One", b"three"))) == 5


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(framed(STOP), id="a finish reason"),
        pytest.param(framed(USAGE), id="usage"),
        pytest.param(framed(ROLE), id="a role"),
        pytest.param(framed(chunk({"content": "two"}, index=1)), id="another choice"),
        pytest.param(framed(chunk({"content": "two"}, usage={"total_tokens": 1})), id="more"),
        pytest.param(framed(ONE)[:-1], id="cut"),
        pytest.param(framed(ONE) + b"0", id="more behind it"),
        pytest.param(framed(ONE + ONE), id="two events"),
        pytest.param(framed(ONE) * 2, id="two chunks"),
        pytest.param(ONE, id="no framing"),
        pytest.param(b"", id="the end"),
        pytest.param(b"%X\r\n%b\r\n" % (0xAB, ONE), id="another size"),
        pytest.param(b"0%b" % framed(ONE), id="a size with a zero in front"),
        pytest.param(framed(ONE.replace(b"One", b"\\u00e9")), id="an escape by number"),
        pytest.param(framed(ONE.replace(b"One", b"\\x")), id="no escape"),
        pytest.param(framed(ONE.replace(b"One", b"a\nb")), id="a line end in the text"),
        pytest.param(framed(ONE.replace(b"One", b"\xff")), id="no UTF-8"),
        pytest.param(framed(ONE.replace(b"One", b"x" * LONGEST)), id="too long"),
    ],
)
def test_what_does_not_fit_must_be_read(other: bytes) -> None:
    assert lane().text(other) == -1


@pytest.mark.parametrize(
    ("of", "text"),
    [
        pytest.param(ROLE, 0, id="no text"),
        pytest.param(chunk({"reasoning_content": "One"}), 3, id="thoughts"),
        pytest.param(chunk({"content": "One", "refusal": "no"}), 5, id="more than one text"),
        pytest.param(event({"content": "One"}), 3, id="no delta"),
        pytest.param(chunk({"content": "x" * LONGEST}), LONGEST, id="too long"),
    ],
)
def test_what_is_no_pattern(of: bytes, text: int) -> None:
    assert Lane.learn(of, text) is None


def test_every_size_is_read_like_a_reader_of_chunks_reads_it() -> None:
    start, end = b'data: {"choices":[{"index":0,"delta":{"content":"', b'"}}]}\n\n'
    known = lane(start + b"x" + end, 1)
    for size in range(len(start + end), LONGEST + 1):
        whole = start + b"x" * (size - len(start + end)) + end
        for said in range(size - 3, size + 4):
            fits = known.text(b"%x\r\n%b\r\n" % (said, whole)) >= 0
            assert fits is (said == size), (said, size)

"""A tape repeats for its seed; stretches join, wrap, and stay escaped alike."""

import json
import statistics

import pytest

from kproxy.sim.tape import Tape, escape

SIZE = 2048
TAPE = Tape(1, 0.3)


def test_a_seed_gives_one_tape():
    assert Tape(1, 0.3).pieces == TAPE.pieces
    assert Tape(1, 0.3).factors == TAPE.factors
    assert Tape(2, 0.3).pieces != TAPE.pieces


def test_text_reaches_beyond_ascii_and_needs_escapes():
    text = "".join(TAPE.pieces)
    assert "東京" in text
    assert "🙂" in text
    assert '"' in text
    assert "\\" in text
    assert "\n\n" in text


@pytest.mark.parametrize("place", [0, 5, SIZE - 1])
@pytest.mark.parametrize("count", [1, 40, SIZE, 2 * SIZE, 5 * SIZE])
def test_stretches_belong_together_and_wrap(place, count):
    pieces, escaped = TAPE.text(place, count)
    assert len(pieces) == len(escaped) == count
    assert pieces == tuple(TAPE.pieces[(place + n) % SIZE] for n in range(count))
    assert [json.loads(b'"%b"' % one) for one in escaped] == list(pieces)


@pytest.mark.parametrize("place", [0, 5, SIZE - 1])
@pytest.mark.parametrize("count", [1, 40, SIZE, 5 * SIZE])
def test_waits_are_sums_of_the_factors(place, count):
    waits = TAPE.waits(place, count)
    factors = [TAPE.factors[(place + n) % SIZE] for n in range(count - 1)]
    assert len(waits) == count
    assert waits[0] == 0
    assert waits[-1] == pytest.approx(sum(factors))
    assert waits == sorted(waits)


def test_factors_are_log_normal_around_1():
    assert statistics.median(TAPE.factors) == pytest.approx(1, rel=0.05)
    assert set(Tape(1, 0).factors) == {1.0}


def test_place_is_on_the_tape():
    assert {TAPE.place(digest) for digest in range(5000)} == set(range(SIZE))


def test_escape():
    assert escape('a"\n東') == '\\"'.join(["a", "\\n東"]).encode()

"""The table of a translated stream: every state meets every word."""

import pytest

from kproxy.dialect.anthropic.states import MOVES, Said, State

ANYWHERE = {Said.PING, Said.UNKNOWN, Said.ERROR}
IN_A_BLOCK = {
    State.TEXT: {Said.TEXT},
    State.CALL: {Said.ARGUMENTS},
    State.THOUGHT: {Said.THOUGHT},
    State.OTHER: {Said.ARGUMENTS},
}


def test_every_state_has_a_row() -> None:
    assert set(MOVES) == set(State)
    assert all(set(row) <= set(Said) for row in MOVES.values())
    assert MOVES[State.BROKEN] == {}


@pytest.mark.parametrize("state", [state for state in State if state is not State.BROKEN])
def test_a_ping_moves_nothing_and_an_error_breaks(state: State) -> None:
    row = MOVES[state]
    assert row[Said.PING] is row[Said.UNKNOWN] is state
    assert row[Said.ERROR] is State.BROKEN


@pytest.mark.parametrize("state", sorted(IN_A_BLOCK, key=lambda state: state.value))
def test_a_block_takes_its_own_pieces_and_its_end_only(state: State) -> None:
    words = IN_A_BLOCK[state] | {Said.MORE}
    assert set(MOVES[state]) == ANYWHERE | words | {Said.CLOSE}
    assert {MOVES[state][word] for word in words} == {state}
    assert MOVES[state][Said.CLOSE] is State.BETWEEN


def test_one_beginning_one_end_and_no_block_open_there() -> None:
    assert [state for state in State if Said.BEGIN in MOVES[state]] == [State.START]
    assert [state for state in State if Said.END in MOVES[state]] == [State.BETWEEN]
    assert [state for state in State if Said.STOP in MOVES[state]] == [State.ENDED]
    assert set(MOVES[State.STOPPED]) == ANYWHERE


def test_every_state_can_be_reached() -> None:
    reached = {State.START}
    for _ in State:
        reached |= {to for state in reached for to in MOVES[state].values()}
    assert reached == set(State)

"""A state and what an event says in, the next state out: what may come when in such a stream.

The table is total by its shape: what a state does not name there breaks the stream. It is strict on
purpose. Two beginnings, a text inside a call's arguments or an end with a block open are no message
that could be told on as a whole one.
"""

import enum
from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["MOVES", "Said", "State"]


class State(enum.Enum):
    """Where a message stands."""

    START = "start"  # nothing has come
    BETWEEN = "between"  # no block is open
    TEXT = "text"
    CALL = "call"
    THOUGHT = "thought"
    OTHER = "other"  # a block that an OpenAI answer has no place for
    ENDED = "ended"  # the stop reason has come
    STOPPED = "stopped"
    BROKEN = "broken"


class Said(enum.Enum):
    """What an event says."""

    BEGIN = "begin"
    OPEN_TEXT = "open text"
    OPEN_CALL = "open call"
    OPEN_THOUGHT = "open thought"
    OPEN_OTHER = "open other"
    TEXT = "text"
    ARGUMENTS = "arguments"
    THOUGHT = "thought"
    MORE = "more"  # a piece that an OpenAI answer has no place for
    CLOSE = "close"
    END = "end"
    USED = "used"  # counts alone
    STOP = "stop"
    PING = "ping"
    ERROR = "error"
    UNKNOWN = "unknown"


def _anywhere(state: State) -> dict[Said, State]:
    return {Said.PING: state, Said.UNKNOWN: state, Said.ERROR: State.BROKEN}


MOVES: Mapping[State, Mapping[Said, State]] = MappingProxyType(
    {
        State.START: _anywhere(State.START) | {Said.BEGIN: State.BETWEEN},
        State.BETWEEN: _anywhere(State.BETWEEN)
        | {
            Said.OPEN_TEXT: State.TEXT,
            Said.OPEN_CALL: State.CALL,
            Said.OPEN_THOUGHT: State.THOUGHT,
            Said.OPEN_OTHER: State.OTHER,
            Said.USED: State.BETWEEN,
            Said.END: State.ENDED,
        },
        State.TEXT: _anywhere(State.TEXT)
        | {Said.TEXT: State.TEXT, Said.MORE: State.TEXT, Said.CLOSE: State.BETWEEN},
        State.CALL: _anywhere(State.CALL)
        | {Said.ARGUMENTS: State.CALL, Said.MORE: State.CALL, Said.CLOSE: State.BETWEEN},
        State.THOUGHT: _anywhere(State.THOUGHT)
        | {Said.THOUGHT: State.THOUGHT, Said.MORE: State.THOUGHT, Said.CLOSE: State.BETWEEN},
        State.OTHER: _anywhere(State.OTHER)
        | {Said.ARGUMENTS: State.OTHER, Said.MORE: State.OTHER, Said.CLOSE: State.BETWEEN},
        State.ENDED: _anywhere(State.ENDED) | {Said.USED: State.ENDED, Said.STOP: State.STOPPED},
        State.STOPPED: _anywhere(State.STOPPED),
        State.BROKEN: {},
    }
)
"""What may come in each state, and the state then. Anything else breaks the stream."""

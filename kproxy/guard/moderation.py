"""Texts go in and a request for an operator's own classifier comes out; its answer in, a verdict.

The shape is OpenAI's `POST /v1/moderations`: `{"input", "model"?}` is answered by `{"results":
[{"flagged", "categories"}]}`. Many classifiers speak it, and one that does not is wrapped easily.
"""

from collections.abc import Sequence

import msgspec

__all__ = ["question", "verdict"]

_MOST = 10  # categories that are named to the caller
_LONGEST = 64  # characters of a category's name


class _Result(msgspec.Struct, frozen=True):
    flagged: bool
    categories: dict[str, bool | None] | None = None


class _Results(msgspec.Struct, frozen=True):
    results: list[_Result]


_decode = msgspec.json.Decoder(_Results).decode


def question(texts: Sequence[str], model: str | None) -> bytes:
    """The body of the request: all texts as one input."""
    asked = {"input": "\n".join(texts)}
    return msgspec.json.encode(asked if model is None else asked | {"model": model})


def verdict(body: bytes) -> tuple[str, ...] | None:
    """The categories that were flagged, perhaps none by name; None: nothing was flagged.

    Raises ValueError for what is no answer to the question.
    """
    try:
        results = _decode(body).results
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError("not an answer in the shape of /v1/moderations") from error
    if not results:
        raise ValueError("no result")
    flagged = [result for result in results if result.flagged]
    if not flagged:
        return None
    named = [name for one in flagged for name, hit in (one.categories or {}).items() if hit]
    known = [name for name in dict.fromkeys(named) if name.isprintable() and len(name) <= _LONGEST]
    return tuple(known[:_MOST])

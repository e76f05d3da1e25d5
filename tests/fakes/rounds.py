"""Tool loops asked for, whole or streamed, and what the caller got, by one word each.

In: rounds of a model as `tests/fakes/plugged.py` makes them. Out: a house that plays them, the
answer, its finish reason, and our object in it.
"""

from typing import Any

import pytest
import trio

from tests.fakes.caller import Answer
from tests.fakes.house import House
from tests.fakes.plugged import Adder, reply, round_of, tool_call
from tests.fakes.streams import listen, streamed

__all__ = [
    "LAST", "PLUGINS", "ROUND", "USED", "asked", "both", "finish_of", "house_of", "ours_of", "said",
]  # fmt: skip

PLUGINS = ["code-exec"]
ROUND, LAST = reply(None, tool_call()), reply("It is 3.")
USED = 1_500  # tokens of each round


def house_of(nursery: trio.Nursery, adder: Adder, *connections: Any, **members: Any) -> House:
    """A house with the adder, and one provider whose first connection plays these answers."""
    members.setdefault("plugins", adder.plugins())
    return House(nursery, scripts={"cheap": [connections]}, **members)


async def asked(house: House, *, stream: bool, **members: Any) -> Answer:
    members.setdefault("plugins", PLUGINS)
    if not stream:
        return await house.ask(**members)
    return await listen(streamed(house, **members))


def said(stream: bool, text: str | None, *calls: Any, finish: str | None = None) -> Any:
    """A round as the provider plays it."""
    if stream:
        return round_of([] if text is None else [text], *calls, finish=finish)
    return [(1.0, reply(text, *calls, finish=finish))]


def finish_of(answer: Answer) -> str:
    if answer.headers["content-type"] == "application/json":
        return str(answer.json()["choices"][0]["finish_reason"])
    (finish,) = [
        choice["finish_reason"]
        for one in answer.chunks
        for choice in one["choices"]
        if choice["finish_reason"]
    ]
    return str(finish)


def ours_of(answer: Answer) -> Any:
    if answer.headers["content-type"] == "application/json":
        return answer.json()["x_kairosroute"]
    (ours,) = [one["x_kairosroute"] for one in answer.chunks if "x_kairosroute" in one]
    return ours


both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])

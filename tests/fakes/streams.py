"""Streamed answers as scripts for providers, and callers of them, on the virtual clock.

In: deltas, finish reasons, seconds. Out: framed events for `ScriptedProvider`, a `Talking` that has
asked for a stream, and what it had heard at the end.
"""

import json
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from tests.fakes.caller import Answer, chat, request
from tests.fakes.house import KEY, House, Talking
from tests.fakes.raw_provider import LAST_CHUNK, framed, sse
from tests.fakes.scripted import head

__all__ = [
    "END", "GOOD", "HEAD", "LAST", "ONE", "ROLE", "STOP", "TWO", "USAGE", "chunk", "event",
    "listen", "streamed",
]  # fmt: skip

PATIENCE = 500  # virtual seconds

HEAD = head(200, b"transfer-encoding: chunked", b"content-type: text/event-stream")
USAGE = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return json.dumps({"choices": [choice], **more})


ROLE, ONE, TWO = chunk({"role": "assistant"}), chunk({"content": "One"}), chunk({"content": "two"})
STOP, LAST = chunk({}, "stop"), json.dumps({"choices": [], "usage": USAGE})


def event(data: str) -> bytes:
    return framed(sse(data)[0])


END = event(STOP) + event(LAST) + event("[DONE]") + LAST_CHUNK
GOOD = [(1.0, HEAD + event(ROLE)), (1.0, event(ONE)), (1.0, event(TWO)), (1.0, END)]


def streamed(house: House, *, deaf: bool = False, **members: Any) -> Talking:
    authorization = f"authorization: Bearer {KEY}"
    body = chat(stream=True, **members)
    data = request("POST", "/v1/chat/completions", authorization, body=body)
    return Talking(house, data, deaf=deaf)


async def listen(talking: Talking) -> Answer:
    """Up to the end of the stream or of the connection; a head alone may end like one."""
    with trio.fail_after(PATIENCE):  # an answer that is no stream leaves the connection open
        await talking.until(lambda: talking.ended or talking.raw.endswith(b"\r\n" + LAST_CHUNK))
    await wait_all_tasks_blocked()
    return talking.answer()

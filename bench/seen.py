"""What one caller saw: an `Answer`, or the lack of one, in; a `Seen` value out.

Nothing is believed: an event that is no JSON, an answer without choices and a connection that ends
in the middle are things to see, not errors here. Amounts of money are decimals as they were
written.
"""

import json
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tests.fakes.caller import Answer

__all__ = ["Seen", "see", "usage_counts"]

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """One answer. status 0: none came, and `problem` says why.

    ended: the framing was complete, and a stream had its `[DONE]`. errors: codes of error events
    (or of the one error body), in order. last: whether the last event was an error.
    """

    seconds: float
    status: int = 0
    text: str = ""
    finish: str | None = None
    framed: bool = False
    done: bool = False
    errors: tuple[str, ...] = ()
    last: bool = False
    nonsense: int = 0
    usage: Json | None = None
    extension: Json | None = field(default=None, repr=False)
    problem: str = ""

    @property
    def short(self) -> str:
        """What a caller would call it, in a few words."""
        if not self.status:
            return self.problem
        if self.status != 200:
            return f"{self.status} {self.errors[0] if self.errors else ''}".rstrip()
        if self.errors:
            return "error event" + (" and [DONE]" if self.done else "")
        if self.nonsense:
            return "nonsense in the stream"
        if not self.framed or not self.finish or not self.done:
            return "ends without saying so" if self.done or self.framed else "cut off"
        return "whole" if self.finish == "stop" else f"ends: {self.finish}"


def see(answer: Answer, seconds: float) -> Seen:
    """The answer, read as a careful client reads it."""
    streamed = answer.headers.get("content-type", "").startswith("text/event-stream")
    texts = answer.data if streamed else [answer.body.decode("utf-8", "replace")]
    events = [_decoded(text) for text in texts if text != "[DONE]"]
    known = [event for event in events if event is not None]
    choices = [choice for event in known for choice in _first_choices(event)]
    extensions = [event["x_kairosroute"] for event in known if event.get("x_kairosroute")]
    usages = [event["usage"] for event in known if event.get("usage")]
    finishes = [choice["finish_reason"] for choice in choices if choice.get("finish_reason")]
    return Seen(
        seconds,
        status=answer.status,
        text="".join(_text(choice) for choice in choices),
        finish=finishes[-1] if finishes else None,
        framed=answer.whole,
        done="[DONE]" in texts if streamed else answer.whole,
        errors=tuple(_code(event["error"]) for event in known if event.get("error")),
        last=bool(events and events[-1] and events[-1].get("error")),
        nonsense=events.count(None),
        usage=usages[-1] if usages else None,
        extension=extensions[-1] if extensions else None,
    )


def _decoded(text: str) -> Json | None:
    """An object; None for anything else."""
    try:
        value = json.loads(text, parse_float=Decimal)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _first_choices(event: Json) -> list[Json]:
    choices = event.get("choices")
    if not isinstance(choices, list):
        return []
    return [one for one in choices if isinstance(one, dict) and one.get("index", 0) == 0]


def _text(choice: Json) -> str:
    said = choice.get("delta") or choice.get("message") or {}
    return said.get("content") or ""


def _code(error: object) -> str:
    return str(error.get("code") or error.get("type")) if isinstance(error, dict) else str(error)


def usage_counts(usage: Json | None) -> tuple[int, int] | None:
    """Prompt and completion tokens; None where they are not told."""
    if usage is None or not {"prompt_tokens", "completion_tokens"} <= usage.keys():
        return None
    return usage["prompt_tokens"], usage["completion_tokens"]

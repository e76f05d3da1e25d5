"""The plugin `code-exec` (contract section 9): a tool for the model, its arguments in, the text of
the tool's result out.

A result is always text: a model can mend its own mistake when it is told, so what a caller of an
API would get as an error, the model gets in words. The loop that calls this is not here.
"""

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

if TYPE_CHECKING:
    from kproxy.plugins.sandbox import Outcome

__all__ = ["TOOL_NAME", "CodeExec", "render", "tool"]

TOOL_NAME = "kairosroute_run_python"

_TIERS = {
    "monty": (
        "It is a subset of Python: functions, classes, comprehensions and f-strings, and of the "
        "standard library little more than math, json, re and datetime. No generators (`yield`), "
        "no other packages."
    ),
    "python": "It is CPython with its standard library; no other packages.",
}
_CUT = "[cut: there was more]"


class _Arguments(msgspec.Struct):
    code: str


class Runner(Protocol):
    """What runs the code: a `Sandbox`."""

    async def run(self, code: str) -> "Outcome": ...


def tool(tier: str, seconds: float) -> dict[str, Any]:
    """The definition as it stands in `tools` of a chat request (OpenAI's shape)."""
    return {
        "type": "function",
        "function": {
            "name": TOOL_NAME,
            "description": (
                "Runs Python code and returns what it prints and the value of its last expression. "
                f"{_TIERS[tier]} Each call starts afresh: nothing is kept from earlier calls. "
                f"There is no network and no file, and it ends after {seconds:g} seconds."
            ),
            "parameters": {
                "type": "object",
                "properties": {"code": {"type": "string", "description": "The Python code."}},
                "required": ["code"],
                "additionalProperties": False,
            },
        },
    }


class CodeExec:
    """The tool on an open sandbox. `most`: the longest result in bytes, the marks included."""

    def __init__(self, sandbox: Runner, most: int) -> None:
        self._sandbox = sandbox
        self._most = most

    async def call(self, arguments_json: str) -> str:
        """The result of one call. Raises nothing for what the model wrote or the code does."""
        try:
            arguments = msgspec.json.decode(arguments_json, type=_Arguments)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return '[error: the arguments must be a JSON object {"code": "..."}]'
        return render(await self._sandbox.run(arguments.code), self._most)


def render(outcome: "Outcome", most: int) -> str:
    """Output, value and error, in this order, each where there is one; at most `most` bytes."""
    parts = []
    if outcome.stdout:
        parts.append(outcome.stdout.rstrip("\n"))
    if outcome.result is not None:
        parts.append(f"=> {outcome.result}")
    if outcome.error is not None:
        parts.append(f"[error: {outcome.error}] {outcome.text.strip()}")
    text = "\n".join(parts) or "[no output]"
    data = text.encode()
    if not outcome.truncated and len(data) <= most:
        return text
    # What ends a traceback says what was wrong, so of an error the end is what is kept.
    tail = "" if outcome.error is None else "\n" + parts[-1]
    tail = tail.encode()[-most // 4 :].decode("utf-8", "ignore")
    room = max(0, most - len(_CUT) - len(tail.encode()) - 1)
    return data[:room].decode("utf-8", "ignore") + "\n" + _CUT + tail

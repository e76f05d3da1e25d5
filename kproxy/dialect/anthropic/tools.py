"""OpenAI's tools and the choice among them in, Anthropic's out; a field without a place is named.

Tools of a kind other than `function` pass as they are: Anthropic has kinds of its own, which run at
Anthropic, and refuses a kind that it does not know.
"""

from typing import Any

import msgspec
from msgspec import Raw

from kproxy.errors import NotCarried

__all__ = ["tool_choice", "translate_tools"]

_OF_THE_CALLER = ("bash_", "text_editor_", "computer_", "memory_")
"""Kinds of tools that Anthropic knows and the caller carries out. Those that Anthropic carries out
(web search, code execution) cost money by the use and bring tokens that nobody has reserved."""

_NO_PARAMETERS = Raw(b'{"type":"object","properties":{}}')
_MODES = {"auto": "auto", "none": "none", "required": "any"}
_ABSENT = Raw(b"")


class _Function(msgspec.Struct, frozen=True):
    name: str
    description: str | None = None
    parameters: Raw = _ABSENT
    strict: bool | None = None


class _Tool(msgspec.Struct, frozen=True):
    type: str = "function"
    function: _Function | None = None
    cache_control: Raw = _ABSENT


_decode_tools = msgspec.json.Decoder(list[Raw]).decode
_decode_tool = msgspec.json.Decoder(_Tool).decode


def translate_tools(raw: Raw) -> list[Any]:
    """The `tools` member. `strict` means the same at both. Raises NotCarried."""
    try:
        return [_tool(one, f"tools[{at}]") for at, one in enumerate(_decode_tools(raw))]
    except msgspec.ValidationError as error:
        raise NotCarried("tools", f"Invalid 'tools': {error}") from error


def _tool(raw: Raw, where: str) -> dict[str, Any] | Raw:
    tool = _decode_tool(raw)
    function = tool.function
    if tool.type != "function":
        if tool.type.startswith(_OF_THE_CALLER):
            return raw
        raise NotCarried(where, f"'{where}' is of a kind that is not passed on: '{tool.type}'.")
    if function is None:
        raise NotCarried(where, f"'{where}' has no function.")
    said: dict[str, Any] = {"name": function.name}
    if function.description:
        said["description"] = function.description
    known = bytes(function.parameters) not in (b"", b"null")
    said["input_schema"] = function.parameters if known else _NO_PARAMETERS
    if function.strict:
        said["strict"] = True
    if tool.cache_control:
        said["cache_control"] = tool.cache_control
    return said


def tool_choice(choice: Raw | None, parallel: Raw | None) -> dict[str, Any] | None:
    """`tool_choice` and `parallel_tool_calls`; None: nothing to say. Raises NotCarried."""
    said: dict[str, Any] = (
        {"type": "auto"} if choice is None else _choice(msgspec.json.decode(choice))
    )
    alone = parallel is not None and bytes(parallel) == b"false"
    if alone and said["type"] != "none":
        said["disable_parallel_tool_use"] = True
    elif choice is None:
        return None
    return said


def _choice(choice: object) -> dict[str, Any]:
    if isinstance(choice, str) and choice in _MODES:
        return {"type": _MODES[choice]}
    if isinstance(choice, dict) and choice.get("type") == "function":
        named = choice.get("function")
        if isinstance(named, dict) and isinstance(named.get("name"), str):
            return {"type": "tool", "name": named["name"]}
    raise NotCarried("tool_choice", "Anthropic takes auto, none, required or one function.")

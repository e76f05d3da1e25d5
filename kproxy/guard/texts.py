"""The JSON of messages, or of a whole answer, goes in; the same JSON with its texts edited, out.

1. Only what an edit has changed is written anew: of a request the members of the messages that
   changed, of an answer the choices. Everything else stays the slice that it was, and where nothing
   has changed the very same value comes back.
2. Texts are a message's content and the texts of its parts, and the arguments of tool calls. These
   are JSON inside a JSON string: its strings are edited one by one, so that a match never begins
   inside of an escape (`\\nann@...`), and numbers as well, since cards are written as such.
   Arguments that are no JSON are a text like any other.
   Of a part of a kind that OpenAI does not have, nobody here knows which members a provider's model
   reads, so each string in it is a text, but for the names of kinds and what is said to be base64.
3. Two parsers must never see two requests: a name that stands twice in a message is refused.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Raw

from kproxy.errors import Fault, FaultKind, rejected_field
from kproxy.schema.body import refuse_repeated

__all__ = ["Edit", "edit_json", "edit_messages", "edit_reply"]

Edit = Callable[[str], str]
"""A text to what stands there instead; the same object, or an equal one, where nothing changes."""

TEXTS = frozenset({
    "arguments", "content", "custom", "file", "filename", "function", "function_call", "input",
    "refusal", "text", "reasoning", "reasoning_content", "tool_calls",
})  # fmt: skip
"""Members of a message, and of what stands in one, that hold text or lead to it."""

KINDS = ("custom", "file", "function", "image_url", "input_audio", "refusal", "text")
"""Of parts and calls that OpenAI has."""

Members = dict[str, Raw]

_encode = msgspec.json.Encoder().encode
_decode_members = msgspec.json.Decoder(Members).decode
_decode_items = msgspec.json.Decoder(list[Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode


def edit_messages(messages: Raw, edit: Edit) -> Raw:
    """The messages of a request that has been validated. Raises Rejected 400, and what `edit`
    raises."""
    try:
        return _edit_items(messages, lambda message: _edit_message(message, edit))
    except _Repeated:
        raise rejected_field("messages", "A field of a message is given more than once.") from None


def edit_reply(body: bytes, edit: Edit, restore: Edit) -> bytes:
    """A believed answer: `edit` is for what its choices say, `restore` for what they call. Raises
    Fault, and what they raise."""
    reply = _decode_members(body)
    choices = reply["choices"]
    try:
        edited = _edit_items(choices, lambda choice: _edit_choice(choice, edit, restore))
    except _Repeated:
        raise Fault(FaultKind.BAD_BODY, "a member of the answer stands twice") from None
    return body if edited is choices else _encode(reply | {"choices": edited})


def edit_json(text: str, edit: Edit) -> str:
    """A text that is JSON, string by string, and numbers, so that it stays such; one that is none,
    as a whole. Raises what `edit` raises."""
    return _edit_arguments(text, edit)


def _edit_choice(choice: Raw, edit: Edit, restore: Edit) -> Raw:
    members = _decode_members(choice)
    message = members.get("message")
    if message is None or not bytes(message).startswith(b"{"):
        return choice
    kept = _decode_members(message)
    edits = {"content": edit, "tool_calls": restore, "function_call": restore}
    changed = _changed(kept, edits)
    if not changed:
        return choice
    return Raw(_encode(members | {"message": Raw(_encode(kept | changed))}))


def _edit_message(message: Raw, edit: Edit) -> Raw:
    members = _decode_members(message)
    refuse_repeated(bytes(message), members)
    changed = _changed(members, dict.fromkeys(TEXTS, edit))
    return Raw(_encode(members | changed)) if changed else message


def _changed(members: Members, edits: Mapping[str, Edit]) -> Members:
    """The members that an edit has changed."""
    changed: Members = {}
    for name, old in members.items():
        edit = edits.get(name)
        new = old if edit is None else _edit_value(old, edit)
        if new is not old:
            changed[name] = new
    return changed


def _edit_items(items: Raw, edit: Callable[[Raw], Raw]) -> Raw:
    old = _decode_items(items)
    new = [edit(item) for item in old]
    if all(one is other for one, other in zip(old, new, strict=True)):
        return items
    return Raw(_encode(new))


def _edit_value(value: Raw, edit: Edit) -> Raw:
    """A text, a list of parts or calls, or one of them."""
    data = bytes(value)
    if data.startswith(b'"'):
        text = _decode_text(data)
        new = edit(text)
        return value if new == text else Raw(_encode(new))
    if data.startswith(b"["):
        return _edit_items(value, lambda item: _edit_value(item, edit))
    if not data.startswith(b"{"):
        return value
    tree = _loads(data)
    walked = _walk(tree, edit)
    return value if walked is tree else Raw(_encode(walked))


class _Repeated(ValueError):
    """A name stands twice in one object."""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise _Repeated
    return members


def _number(text: str) -> Raw:
    """A number as it was written: neither rounded nor spelled anew."""
    return Raw(text.encode())


def _no_constant(text: str) -> None:
    raise ValueError(text)  # NaN and Infinity are no JSON


def _loads(text: str | bytes) -> Any:
    return json.loads(
        text,
        object_pairs_hook=_pairs,
        parse_int=_number,
        parse_float=_number,
        parse_constant=_no_constant,
    )


def _walk(tree: Any, edit: Edit) -> Any:
    """A part or a call; the same object where nothing has changed."""
    if isinstance(tree, str):
        return _same(tree, edit(tree))
    if isinstance(tree, list):
        return _same(tree, [_walk(item, edit) for item in tree])
    if not isinstance(tree, dict):
        return tree
    if tree.get("type", "text") not in KINDS:
        return _walk_foreign(tree, edit)
    walked = {}
    for name, value in tree.items():
        if name == "arguments" and isinstance(value, str):
            walked[name] = _edit_arguments(value, edit)
        else:
            walked[name] = _walk(value, edit) if name in TEXTS else value
    return _same(tree, walked)


def _walk_foreign(tree: Any, edit: Edit) -> Any:
    """A part that OpenAI does not have, or what stands in one; the input of a call in it is JSON of
    the caller's, and edited like arguments."""
    if isinstance(tree, str):
        return _same(tree, edit(tree))
    if isinstance(tree, list):
        return _same(tree, [_walk_foreign(item, edit) for item in tree])
    if not isinstance(tree, dict):
        return tree
    kept = {"type", "data"} if tree.get("type") == "base64" else {"type"}
    walked = {}
    for name, value in tree.items():
        if name in kept and isinstance(value, str):
            walked[name] = value
        else:
            walked[name] = (_walk_all if name == "input" else _walk_foreign)(value, edit)
    return _same(tree, walked)


def _edit_arguments(text: str, edit: Edit) -> str:
    """JSON in a string. Raises what `edit` raises."""
    try:
        tree = _loads(text)
        walked = _walk_all(tree, edit)
        return text if walked is tree else _encode(walked).decode()
    except (ValueError, RecursionError):
        return edit(text)


def _walk_all(tree: Any, edit: Edit) -> Any:
    """Every string, name and number."""
    if isinstance(tree, str):
        return _same(tree, edit(tree))
    if isinstance(tree, Raw):
        digits = bytes(tree).decode()
        new = edit(digits)
        return tree if new == digits else new
    if isinstance(tree, list):
        return _same(tree, [_walk_all(item, edit) for item in tree])
    if isinstance(tree, dict):
        walked = {edit(name): _walk_all(value, edit) for name, value in tree.items()}
        return _same(tree, walked, [*walked] == [*tree])
    return tree


def _same(old: Any, new: Any, names: bool = True) -> Any:
    """`old` where `new` holds the very same."""
    if isinstance(old, str):
        return old if new == old else new
    before = old.values() if isinstance(old, dict) else old
    after = new.values() if isinstance(new, dict) else new
    same = names and len(old) == len(new)
    return old if same and all(a is b for a, b in zip(before, after, strict=True)) else new

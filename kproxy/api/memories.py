"""The plugin `memory`, and GET and DELETE of what it has kept for the calling account (section 9).

A request's words are looked up among what its account and `user` have said in earlier ones, and
what is worth it of them is kept, both in one question to the store, before anything is dispatched.
Any key of an account sees and deletes all of its memories, whatever its tier.
"""

from collections.abc import Callable
from typing import TypeVar
from urllib.parse import parse_qs, unquote_to_bytes

import msgspec

from kproxy.api.admit import take_turn
from kproxy.api.plugged import Asking, Finder, Found
from kproxy.api.service import Service
from kproxy.downstream.exchange import Exchange
from kproxy.downstream.respond import JSON_TYPE, Answer
from kproxy.errors import Rejected, rejected_field
from kproxy.plugins.source import PluginFailed, Source
from kproxy.store.database import StoreError
from kproxy.store.memories import Memories, Memory, Owner, Said

__all__ = ["forget_memories", "forget_memory", "list_memories", "memory_plugin"]

T = TypeVar("T")

HEADING = "What this user has said in earlier conversations"
DEFAULT_LIMIT = 20  # OpenAI's lists
MOST = 100  # likewise
LONGEST = 256  # characters of a name that is looked for; ours have 28

_encode = msgspec.json.Encoder().encode


def memory_plugin(
    memories: Memories, seconds: float, size: int, unix_now: Callable[[], float]
) -> Finder:
    """The plugin on an open store; `size` is bytes of what is recalled for one request."""

    async def find(asking: Asking) -> Found:
        from kproxy.plugins.facts import facts, words  # patterns, and few servers ever need them

        owner = Owner(asking.account_id, asking.user)
        said = [Said(*fact) for fact in facts(asking.words)]
        try:
            recalled = await memories.recall(owner, words(asking.words), said, unix_now())
        except StoreError as error:
            raise PluginFailed("what is remembered cannot be read now") from error
        return Found([Source("", "", text) for text in recalled.texts], recalled.kept)

    return Finder(find, HEADING, seconds, size, off_under_zdr=True, own=True)


async def list_memories(service: Service, exchange: Exchange) -> None:
    """A page of memories, newest first: of `user`, where one is named; `limit` and `after`."""
    memories, account_id = _asked(service, exchange)
    given = _query(exchange)
    limit = given.get("limit", str(DEFAULT_LIMIT))
    digits = limit.isascii() and limit.isdigit() and len(limit) <= len(str(MOST))
    if not digits or not 1 <= int(limit) <= MOST:
        raise rejected_field("limit", f"'limit' must be a whole number from 1 to {MOST}.")
    after = given.get("after")
    page = await memories.page(account_id, given.get("user"), int(limit), after)
    if page is None:
        raise rejected_field("after", f"The memory '{after}' does not exist.")
    body = {
        "object": "list",
        "data": [_shown(one) for one in page.memories],
        "first_id": page.memories[0].id if page.memories else None,
        "last_id": page.memories[-1].id if page.memories else None,
        "has_more": page.more,
    }
    await exchange.respond(Answer(200, [JSON_TYPE], _encode(body)))


async def forget_memories(service: Service, exchange: Exchange) -> None:
    """Delete all memories, or those of `user`."""
    memories, account_id = _asked(service, exchange)
    given = _query(exchange)
    user = given.pop("user", None)
    if given:  # a name that is mistyped must not delete everybody's
        other = min(given)
        raise rejected_field(other, f"There is no parameter '{other}' here.")
    exchange.check_preconditions()
    count = await memories.forget_all(account_id, user)
    body = {"object": "list.deleted", "deleted": True, "count": count}
    await exchange.respond(Answer(200, [JSON_TYPE], _encode(body)))


async def forget_memory(service: Service, exchange: Exchange) -> None:
    """Delete one memory; that of another account does not exist."""
    memories, account_id = _asked(service, exchange)
    path = exchange.head.target.partition(b"?")[0]
    name = unquote_to_bytes(path.partition(b"/memories/")[2]).decode("utf-8", "replace")[:LONGEST]
    # They count where something is there to have them (RFC 9110 13.2.1).
    if exchange.is_unmet and await memories.page(account_id, None, 1, after=name) is None:
        raise _unknown(name)
    exchange.check_preconditions()
    if not await memories.forget(account_id, name):
        raise _unknown(name)
    body = {"id": name, "object": "memory.deleted", "deleted": True}
    await exchange.respond(Answer(200, [JSON_TYPE], _encode(body)))


def _unknown(name: str) -> Rejected:
    return Rejected(404, "memory_not_found", f"The memory '{name}' does not exist")


def _asked(service: Service, exchange: Exchange) -> tuple[Memories, str]:
    """The store, and who asks. Raises Rejected."""
    caller = service.identify(exchange)
    take_turn(service, caller)
    if service.memories is None:
        raise Rejected(404, "not_found", "Nothing is remembered here.")
    return service.memories, caller.account.id


def _query(exchange: Exchange) -> dict[str, str]:
    """The last value of each parameter; others than ours are left alone, as by OpenAI."""
    query = exchange.head.target.partition(b"?")[2].decode("ascii", "replace")
    given = parse_qs(query, keep_blank_values=True)
    return {name: values[-1][:LONGEST] for name, values in given.items()}


def _shown(memory: Memory) -> dict[str, object]:
    return {
        "id": memory.id,
        "object": "memory",
        "user": memory.user or None,
        "text": memory.text,
        "created_at": int(memory.created_at),
    }

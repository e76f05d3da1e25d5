"""What plugins hand to the frame: text with its origin, or a failure with its reason."""

import re
from typing import TypeVar

import msgspec

from kproxy.errors import KproxyError

__all__ = ["PluginFailed", "Source", "check_status", "decode", "plain", "web_url"]

_TAG = re.compile(r"</?[A-Za-z][^<>]{0,500}>")
_SPACE = re.compile(r"\s+")
_WEB = re.compile(r"https?://[!-~]{1,2040}")

T = TypeVar("T")


class Source(msgspec.Struct, frozen=True):
    """One piece of foreign text, to be cited by its title and URL. It is untrusted, all of it."""

    title: str
    url: str
    text: str


class PluginFailed(KproxyError):
    """A plugin could not do its work; the request may go on without it.

    `reason` is short and ours: it goes into `x_kairosroute.plugins` and holds no secret, no URL and
    nothing that a service has said. `spent`: whether what was asked of a service may have cost
    something even so; None: nothing was asked.
    """

    def __init__(self, reason: str, *, spent: bool | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.spent = spent


def plain(text: object, limit: int) -> str:
    """One line of text without tags and control characters, at most `limit` characters.

    What is no string is nothing: services put null where they have none.
    """
    if not isinstance(text, str):
        return ""
    text = _SPACE.sub(" ", _TAG.sub("", text[: 8 * limit]))
    text = "".join(filter(str.isprintable, text)).strip()
    return text if len(text) <= limit else f"{text[: limit - 1].rstrip()}…"


def web_url(text: object) -> str:
    """The URL if it is one that can be cited, else nothing."""
    return text if isinstance(text, str) and _WEB.fullmatch(text) else ""


def decode(decoder: msgspec.json.Decoder[T], body: bytes, who: str) -> T:
    """A service's JSON. Raises PluginFailed.

    On the event loop, so the budget of the fetch bounds it: 512 KiB of the worst JSON take 10 ms.
    """
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PluginFailed(f"{who} sent something else than its JSON") from error


def check_status(status: int, who: str) -> None:
    """Raises PluginFailed for any status but 200."""
    if status == 200:
        return
    if status in (401, 402, 403):
        raise PluginFailed(f"{who} does not accept our key or our question ({status})")
    if status in (429, 432, 433):  # the last two are Tavily's, for a plan that is used up
        raise PluginFailed(f"{who} has had enough questions for now ({status})")
    raise PluginFailed(f"{who} answered {status}")

"""The plugins that are offered, and what those of one request do before it is planned (contract
section 9).

A plugin is one of three things: it reads the messages into others, it finds text for the last words
of the user, or it is a tool that the model may call (`rounds.py`). Each is a narrow async function
of what it needs, with a deadline and a number of bytes; a plugin knows neither jobs nor providers.

What is read is the caller's own, so the operator's rules (`guardrails.py`) look at it with the rest
of the messages. What is found is looked for with the words that these rules leave, since it may be
asked of others, and is screened by itself. Those of one kind work beside each other, under the
request's own deadline as well. What one of them cannot do is reported, and the request goes on
without it; only where nothing can be answered without it (a PDF that cannot be read) it is refused.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import trio
from msgspec import Raw
from msgspec.structs import replace

from kproxy.dialect.context import Cited, Section, citations, context, last_words, with_context
from kproxy.dialect.rounds import offer
from kproxy.errors import DeadlineExceeded, Rejected
from kproxy.plugins.layers import Layer
from kproxy.plugins.source import PluginFailed
from kproxy.schema.chat import ChatCall
from kproxy.schema.receipt import PluginReport

__all__ = [
    "Asking",
    "Finder",
    "Found",
    "Plugged",
    "Plugins",
    "Preparation",
    "Read",
    "Reader",
    "Result",
    "Screen",
    "Tool",
    "asking_of",
    "failure",
]

log = logging.getLogger("kproxy.plugins")


Screen = Callable[[str], Awaitable[str]]
"""The operator's rules on a text of a plugin's. Raises Rejected 400."""


class Asking(NamedTuple):
    """Whose request it is, and the last words of the user. `user` is the caller's own name for who
    it asks for, empty where it gives none."""

    account_id: str
    user: str
    words: str


class Found(NamedTuple):
    """Pieces of text, best first; and how many were remembered, where that is what it does."""

    pieces: Sequence[Cited]
    kept: int | None = None


class Read(NamedTuple):
    """Messages with text where something else stood, and how many pieces that were."""

    messages: Raw
    pieces: int


class Result(NamedTuple):
    """What the model is told of its call; what the caller is shown at once, in Markdown; a picture
    as a part of a message's content; whether the call has cost the tool's price."""

    text: str
    shown: str = ""
    image: Raw | None = None
    charged: bool = False


@dataclass(frozen=True, slots=True)
class Finder:
    """Finds text. `find` raises PluginFailed. `size` is bytes of text for one request, `seconds`
    how long it may take, `heading` what its pieces stand under. `own`: what it finds are the
    user's own words. `off_under_zdr`: it keeps what is said."""

    find: Callable[[Asking], Awaitable[Found]]
    heading: str
    seconds: float
    size: int
    off_under_zdr: bool = False
    own: bool = False


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads messages into others. `read` takes them and the request's nonce, for marks; it raises
    PluginFailed, and then nothing can be answered."""

    read: Callable[[Raw, str], Awaitable[Read]]
    seconds: float


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool for the model. `definition` is its entry in `tools`; `call` takes the arguments as the
    model wrote them, and raises PluginFailed. `size` is bytes of a result, `seconds` of one call,
    `price` is nano-dollars of one that was charged for, None where it is not known.
    """

    name: str
    definition: Raw
    call: Callable[[str], Awaitable[Result]]
    seconds: float
    size: int
    price: int | None = 0


@dataclass(frozen=True, slots=True)
class Plugins:
    """What is configured, by id. `rounds`: requests to providers in one tool loop. `layers` are
    those of code-exec's sandbox, as they were found."""

    offered: Mapping[str, Finder | Reader | Tool] = field(default_factory=dict)
    rounds: int = 5
    layers: Callable[[], Sequence[Layer]] = tuple

    def bring_tools(self, names: Iterable[str]) -> bool:
        """Whether one of these gives the model a tool."""
        return any(isinstance(self.offered.get(name), Tool) for name in names)


@dataclass(frozen=True, slots=True)
class Plugged:
    """The plugins of one request: what they did so far, and its tools by the name that the model
    calls them by, each with the plugin's id."""

    reports: list[PluginReport] = field(default_factory=list)
    tools: Mapping[str, tuple[str, Tool]] = field(default_factory=dict)


class Preparation:
    """What the plugins of one request do before it is planned. `deadline` is absolute.

    First `read`, then `find`, once each and with one nonce, and `plugged` says what it came to.
    """

    def __init__(self, plugins: Plugins, call: ChatCall, asking: Asking, deadline: float) -> None:
        self._nonce = ""
        wanted = dict.fromkeys(call.request.plugins or ())
        self._chosen = {name: plugins.offered[name] for name in wanted}
        self._call = call
        self._asking = asking
        self._deadline = deadline
        self._sections: dict[str, Section] = {}
        self._reports: dict[str, PluginReport] = {}
        self._refusal: Rejected | None = None
        self._tools: dict[str, tuple[str, Tool]] = {}
        for name, one in self._chosen.items():
            if isinstance(one, Tool):
                self._tools[one.name] = name, one
                self._reports[name] = PluginReport(name, ok=True, ms=0.0, calls=0)

    async def read(self, nonce: str) -> ChatCall:
        """The request with our tools beside the caller's, and its messages read.

        Raises Rejected 400, DeadlineExceeded.
        """
        self._nonce = nonce
        if self._tools:
            tools = {name: one.definition for name, (_, one) in self._tools.items()}
            self._call = offer(self._call, tools)
        await self._all(Reader)
        return self._call

    async def find(self, call: ChatCall, nonce: str, screen: Screen | None) -> ChatCall:
        """`call` with what was found. `screen` are the operator's rules on a text that is added.

        Raises DeadlineExceeded.
        """
        self._call = call = call.changed(call.fields["messages"])  # typed, too
        self._asking = self._asking._replace(words=last_words(call.request.messages, nonce))
        await self._all(Finder)
        names = [name for name in self._chosen if name in self._sections]
        sections = [self._sections[name] for name in names]
        text = await self._screened(context(sections, nonce), screen)
        if text:
            self._cite(names, sections)
        return call.changed(with_context(call.fields["messages"], text)) if text else call

    def plugged(self) -> Plugged:
        """What was done, and the tools."""
        return Plugged([self._reports[name] for name in self._chosen], self._tools)

    def _cite(self, names: Sequence[str], sections: Sequence[Section]) -> None:
        for place, citation in citations(sections):
            report = self._reports[names[place]]
            self._reports[names[place]] = replace(report, cited=(*report.cited, citation))

    async def _screened(self, text: str, screen: Screen | None) -> str:
        """Without what was found where a rule blocks it: that is not the caller's fault."""
        if not text or screen is None:
            return text
        try:
            return await screen(text)
        except Rejected as blocked:
            for name in self._sections:
                self._reports[name] = replace(self._reports[name], ok=False, error=blocked.code)
            return ""

    async def _all(self, kind: type[Finder | Reader]) -> None:
        """The work of all plugins of that kind, beside each other."""
        chosen = [(name, one) for name, one in self._chosen.items() if isinstance(one, kind)]
        if not chosen:
            return
        with trio.move_on_at(self._deadline) as scope:
            async with trio.open_nursery() as nursery:
                for name, one in chosen:
                    nursery.start_soon(self._run, name, one)
        if scope.cancelled_caught:
            raise DeadlineExceeded("the plugins took all the time there was")
        if self._refusal is not None:
            raise self._refusal

    async def _run(self, name: str, plugin: Finder | Reader) -> None:
        """One plugin, reported whatever becomes of it."""
        started = trio.current_time()
        report = PluginReport(name, ok=False, ms=0.0)
        share = (self._deadline - started) / 2  # the rest is the answer's
        try:
            with trio.fail_after(min(plugin.seconds, share)):
                report = await self._one(name, plugin)
        except Exception as error:
            reason = failure(name, error)
            report = PluginReport(name, ok=False, ms=0.0, error=reason)
            if isinstance(plugin, Reader):
                message = f"The plugin '{name}' cannot read the messages: {reason}."
                self._refusal = Rejected(400, "plugin_failed", message, param="messages")
        took = round(1000 * (trio.current_time() - started), 3)
        self._reports[name] = replace(report, ms=took)

    async def _one(self, name: str, plugin: Finder | Reader) -> PluginReport:
        if isinstance(plugin, Reader):
            messages = self._call.fields["messages"]
            read = await plugin.read(messages, self._nonce)
            if read.messages is not messages:
                self._call = self._call.changed(read.messages)
            return PluginReport(name, ok=True, ms=0.0, sources=read.pieces)
        if plugin.off_under_zdr and self._call.request.zdr:
            return PluginReport(name, ok=False, ms=0.0, error="off, because of 'zdr'")
        found = await plugin.find(self._asking)
        self._sections[name] = Section(plugin.heading, found.pieces, plugin.size, plugin.own)
        return PluginReport(name, ok=True, ms=0.0, sources=len(found.pieces), kept=found.kept)


def asking_of(call: ChatCall, account_id: str) -> Asking:
    """The request as plugins know it."""
    return Asking(account_id, call.user, last_words(call.request.messages))


def failure(name: str, error: Exception) -> str:
    """Why a plugin failed, in our words; a mistake of its own is told to the operator alone."""
    if isinstance(error, PluginFailed):
        return error.reason
    if isinstance(error, Rejected):  # by a rule of the operator's
        return error.code
    if isinstance(error, trio.TooSlowError):
        return "it took too long"
    # Not its message: it may hold what somebody has said.
    log.error("the plugin %s failed: %s", name, type(error).__name__)
    return "it failed"

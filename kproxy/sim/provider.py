"""A request in, its answer out: the routes of the simulated providers, without a socket.

    POST …/chat/completions    OpenAI's wire         GET …/v1/models, …/v1/models/{id}
    POST …/messages            Anthropic's wire      GET /sim/hangups, /sim/stats, /sim/faults
                                                     DELETE /sim/stats

Whatever stands before `/v1` (`/acme/v1/...`) names a provider: it changes words and times as
another seed would, and fault rules can be meant for it alone. Every key is good but `bad-key`.
"""

from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import ClassVar, NamedTuple

import orjson

from kproxy.errors import Rejected
from kproxy.sim import anthropic, openai
from kproxy.sim.asked import Asked
from kproxy.sim.chance import mix
from kproxy.sim.faults import FAULTS, Counters, Fault
from kproxy.sim.params import SimParams
from kproxy.sim.play import perform, refuse, whole
from kproxy.sim.script import Script, Stage, write
from kproxy.sim.show import JSON, Play, Wire, head
from kproxy.wire.events import RequestHead

__all__ = ["BAD_KEY", "Provider"]

BAD_KEY = b"bad-key"
"""The one key that is refused, on both wires."""

_CHAT: Wire = openai
_MESSAGES: Wire = anthropic
_NO_IDENT = "0" * 24
_MOST_HANGUPS = 10_000
_MOST_KNOWN = 256  # requests remembered: a load test repeats a few, and measures us otherwise
_MOST_KNOWN_BODY = 16 * 1024
_MOST_MODELS = 1_000  # names counted apart; a caller may invent any number of them


class _Known(NamedTuple):
    """What was decided for a request. Answers are functions of it, so it may be decided once."""

    asked: Asked
    faults: tuple[Fault, ...]
    script: Script | None  # None: the faults have a say in it
    data: bytes | None  # the whole answer, where it is due at once


class Provider:
    """All that a server of simulated providers knows. `now` is trio's clock, in seconds."""

    def __init__(self, params: SimParams, now: float) -> None:
        self._params = params
        self._stage = Stage.of(params)
        self._rules = params.rules()
        self._root = mix(params.seed).to_bytes(8, "big")
        self._known: dict[tuple[bytes, bool, bytes], _Known] = {}
        self._hangups: deque[int] = deque(maxlen=_MOST_HANGUPS)
        self.connections = 0  # open now
        self.streams = 0  # being played now
        self.reset(now)

    def __repr__(self) -> str:
        return f"<Provider {self._requests} requests, {self.streams} streams>"

    def reset(self, now: float) -> None:
        """Forget what was counted; faults that count begin again."""
        self._counters = Counters(now)
        self._requests = 0
        self._models: dict[str, int] = {}
        self._hangups.clear()

    def note_hangup(self, monotonic_ns: int) -> None:
        """A caller left in the middle of an answer, at that time of CLOCK_MONOTONIC."""
        self._hangups.append(monotonic_ns)

    def answer(self, request: RequestHead, body: bytes, now: float) -> Play | bytes:
        """The answer: bytes that are due at once and whole, or a play. Never raises."""
        path = request.target.partition(b"?")[0]
        wire = _CHAT
        try:
            if path.endswith(b"/chat/completions"):
                return self._complete(wire, request, path[: -len(b"/chat/completions")], body, now)
            if path.endswith(b"/messages"):
                wire = _MESSAGES
                return self._complete(wire, request, path[: -len(b"/messages")], body, now)
            return self._look_up(request, path, now)
        except Rejected as error:
            answer = refuse(wire, error, _NO_IDENT)
            return answer[: answer.index(b"\r\n\r\n") + 4] if request.method == b"HEAD" else answer

    # --- completions

    def _complete(
        self, wire: Wire, request: RequestHead, prefix: bytes, body: bytes, now: float
    ) -> Play | bytes:
        self._check(wire, request, b"POST")
        key = (prefix, wire is _CHAT, body)
        known = self._known.get(key)
        if known is None:
            known = self._decide(wire, prefix.removesuffix(b"/v1").strip(b"/"), body)
            if len(body) <= _MOST_KNOWN_BODY:
                if len(self._known) >= _MOST_KNOWN:
                    self._known.clear()
                self._known[key] = known
        asked, faults, script, data = known
        self._count(asked.model)
        if data is not None and not request.http_10:
            return data
        if faults:
            faults = self._counters.settle(asked.model, faults, now)
        if script is None:
            script = write(asked, faults, self._stage)
        return perform(asked, script, faults, wire, request.http_10)

    def _decide(self, wire: Wire, provider: bytes, body: bytes) -> "_Known":
        """What the request alone decides. Raises Rejected."""
        asked = wire.read(body, self._root + provider[:48] if provider else self._root)
        faults = asked.faults
        if not faults and self._rules:
            faults = self._ruled(provider.decode("latin-1"), asked)
        if faults:
            return _Known(asked, faults, None, None)  # they may count
        script = write(asked, (), self._stage)
        at_once = not asked.stream and script.end == 0
        return _Known(asked, (), script, whole(asked, script, wire) if at_once else None)

    def _ruled(self, provider: str, asked: Asked) -> tuple[Fault, ...]:
        """The configured faults: the most exact rule for this request counts alone."""
        rules = self._rules
        for target in (f"{provider}/{asked.name}", asked.name, f"{provider}/*", "*"):
            if target in rules:
                return rules[target]
        return ()

    def _check(self, wire: Wire, request: RequestHead, *methods: bytes) -> None:
        """Method, key, and what else a wire demands of a head. Raises Rejected."""
        if request.method not in methods:
            raise _not_allowed(request, *methods)
        bearer = request.get(b"authorization")
        if bearer is not None:
            key: bytes | None = bearer[7:] if bearer[:7].lower() == b"bearer " else bearer
        else:
            key = request.get(b"x-api-key")
        if key == BAD_KEY:
            raise Rejected(401, "", "")
        if wire is _MESSAGES and request.get(b"anthropic-version") is None:
            raise Rejected(400, "", "anthropic-version: header is required")

    def _count(self, model: str) -> None:
        self._requests += 1
        models = self._models
        if model in models or len(models) < _MOST_MODELS:
            models[model] = models.get(model, 0) + 1

    # --- everything else

    def _look_up(self, request: RequestHead, path: bytes, now: float) -> bytes:
        if path == b"/sim/stats" and request.method == b"DELETE":
            self.reset(now)
            return _reply(request, b"{}")
        about = self._ABOUT.get(path)
        if about is not None:
            allowed = (b"GET", b"HEAD", b"DELETE")[: 3 if path == b"/sim/stats" else 2]
            if request.method not in allowed:
                raise _not_allowed(request, *allowed)
            return _reply(request, about(self))
        before, mark, name = path.partition(b"/models")
        if mark and before.endswith(b"/v1") and (not name or name[:1] == b"/"):
            self._check(_CHAT, request, b"GET", b"HEAD")
            return _reply(request, self._models_body(name[1:].decode("latin-1")))
        raise Rejected(404, "not_found", f"Unknown path: {path.decode('latin-1')}")

    def _models_body(self, name: str) -> bytes:
        if not name:
            return openai.models(self._params.models)
        if name not in self._params.models:
            raise Rejected(404, "model_not_found", f"The model {name!r} does not exist.")
        return openai.model_object(name)

    def _stats(self) -> bytes:
        return orjson.dumps(
            {
                "requests": self._requests,
                "models": self._models,
                "streams": self.streams,
                "connections": self.connections,
                "hangups": len(self._hangups),
            }
        )

    def _hangups_body(self) -> bytes:
        return orjson.dumps(list(self._hangups))

    def _faults_body(self) -> bytes:
        return orjson.dumps({name: row.says for name, row in FAULTS.items()})

    _ABOUT: ClassVar[Mapping[bytes, Callable[["Provider"], bytes]]] = MappingProxyType(
        {b"/sim/stats": _stats, b"/sim/hangups": _hangups_body, b"/sim/faults": _faults_body}
    )


def _reply(request: RequestHead, body: bytes) -> bytes:
    start = head(200, JSON, b"content-length: %d\r\n" % len(body))
    return start if request.method == b"HEAD" else start + body


def _not_allowed(request: RequestHead, *methods: bytes) -> Rejected:
    error = Rejected(405, "method_not_allowed", f"Method {request.method.decode()} not allowed.")
    error.headers = ((b"allow", b", ".join(methods)),)
    return error

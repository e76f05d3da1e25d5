"""The API without a socket: a router over scripted providers, asked by callers in memory.

In: models with prices, a script for each provider. Out: `Answer` values and the time they took, on
the virtual clock. Everything between the two links is the real thing.
"""

import dataclasses
import http.client
import io
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Self

import msgspec
import trio

from kproxy.admission.keys import Account, KeyRecord, Secret, digest
from kproxy.admission.tiers import TIERS
from kproxy.api.guardrails import Guardrails
from kproxy.api.idempotency import Once
from kproxy.api.plugged import Plugins
from kproxy.api.routes import Router
from kproxy.api.service import Pressure, Service
from kproxy.catalog.load import Catalog, Model, Price, Provider
from kproxy.dialect.base import Dialect
from kproxy.dialect.openai import OpenAI
from kproxy.downstream.connection import Connection, ConnectionParams
from kproxy.guard.schemas import load_validator
from kproxy.routing.budget import Budget, BudgetParams
from kproxy.routing.conversation import Conversations
from kproxy.routing.live import HealthParams, Routes
from kproxy.routing.plan import AttemptPolicy, Timeouts
from kproxy.schema.jsonlimits import JsonLimits
from kproxy.schema.receipt import Receipt
from kproxy.store.desk import KeyDesk
from kproxy.store.keystore import KeyStore
from kproxy.store.memories import Memories
from kproxy.store.receipts import Receipts
from kproxy.telemetry.accesslog import AccessLog
from kproxy.telemetry.faultlog import FaultLog
from kproxy.telemetry.metrics import Metrics
from kproxy.telemetry.traces import Traces
from kproxy.transport.duplex import Broken
from kproxy.transport.pool import Pool, PoolParams
from kproxy.transport.timers import Timers
from kproxy.upstream.endpoint import AnswerLimits, Endpoint
from kproxy.wire.limits import H1Limits
from tests.fakes.caller import Answer as Reply
from tests.fakes.caller import chat, request
from tests.fakes.duplex import MemoryDuplex, duplex_pair
from tests.fakes.ledgers import Memory, NoLimits
from tests.fakes.samples import sample
from tests.fakes.scripted import ORIGIN, Answer, ScriptedProvider

__all__ = ["CHEAP", "DEAR", "KEY", "House", "Talking", "model"]

KEY = "kr-" + "k" * 43
CHEAP, DEAR = Price.from_usd(1, 2), Price.from_usd(10, 20)
load_validator()  # else the first request does, in a thread: a virtual clock would jump meanwhile

TIMEOUTS = Timeouts(total=100, first_token=10, gap=5)
ACCOUNT = Account("acct_1", "default", "unlimited", 0)


def model(key: str, price: Price | None = CHEAP, **fields: Any) -> Model:
    """`provider/id` at that price."""
    provider, _, name = key.partition("/")
    return Model(name, provider, name, price, **fields)


@dataclass
class House:
    """`models` make the catalog. `nursery` is the test's; the clock must be virtual.

    Whoever holds `record` is let in, or with a `store` (the test's, too) the holders of its keys;
    `keyless`: everybody.
    """

    nursery: trio.Nursery
    models: Sequence[Model] = (model("cheap/m"), model("dear/m", DEAR))
    scripts: Mapping[str, Sequence[Sequence[Answer]]] = field(default_factory=dict)
    timeouts: Timeouts = TIMEOUTS
    health: HealthParams = field(default_factory=HealthParams)
    overloaded: bool = False
    receipts: list[Receipt] = field(default_factory=list)
    heartbeat: float = 50
    unix_now: Callable[[], float] = lambda: 1_000.0
    record: KeyRecord = field(
        default_factory=lambda: KeyRecord(ACCOUNT, "key_1", digest(KEY.encode()), "n", KEY[:8], 0)
    )
    ready: bool = True
    store: KeyStore | None = None
    keyless: bool = False
    shelf: Receipts | None = None  # only a test of receipts has some
    appraise: Callable[[Any], Any] = lambda request: None  # only a test of the router has one
    once: Once | None = None  # only a test of Idempotency-Key has one
    guardrails: Guardrails | None = None
    speaks: Mapping[str, Dialect] = field(default_factory=dict)  # by slug; else OpenAI's

    pressure: Pressure = field(default_factory=Pressure)
    access: AccessLog | None = None
    traces: Traces | None = None
    limits: Any = field(default_factory=NoLimits)
    plugins: Plugins = field(default_factory=Plugins)
    memories: Memories | None = None  # only a test of memory has some

    def __post_init__(self) -> None:
        self.journal = Memory(self.receipts)
        self.timers = Timers()
        self.nursery.start_soon(self.timers.run)
        slugs = dict.fromkeys(one.provider for one in self.models)
        self.providers = {
            slug: ScriptedProvider(self.nursery, self.scripts.get(slug, ())) for slug in slugs
        }
        self.pools = {
            slug: Pool(ORIGIN, provider.dial, self.timers, PoolParams(limit=4))
            for slug, provider in self.providers.items()
        }
        facts = {slug: Provider(slug, slug.title()) for slug in slugs}
        self.metrics = Metrics((one.provider, one.id) for one in self.models)
        self.service = Service(
            catalog=Catalog(MappingProxyType(facts), tuple(self.models)),
            endpoints={slug: self._endpoint(slug, pool) for slug, pool in self.pools.items()},
            lookup=None if self.keyless else self.store.lookup if self.store else self._lookup,
            desk=KeyDesk(self.store) if self.store else None,
            tiers=TIERS,
            unix_now=self.unix_now,
            boot_ns=lambda: int(trio.current_time() * 1e9),
            ready=lambda: self.ready,
            policy=AttemptPolicy(self.timeouts),
            appraise=self.appraise,
            conversations=Conversations(),
            routes=Routes((one.key for one in self.models), self.health),
            hedges=Budget(BudgetParams()),
            repeats=Budget(BudgetParams(start=10.0)),
            overloaded=lambda: self.overloaded,
            limits=self.limits,
            journal=self.journal,
            readers=trio.CapacityLimiter(2),
            heartbeat=self.heartbeat,
            json_limits=JsonLimits(),
            reference=DEAR,
            metrics=self.metrics,
            faults=FaultLog(),
            timers=self.timers,
            receipts=self.shelf,
            once=self.once,
            pressure=self.pressure,
            access=self.access,
            traces=self.traces,
            guardrails=self.guardrails,
            plugins=self.plugins,
            memories=self.memories,
        )
        self.router = Router(self.service)

    def policy(self, **changes: Any) -> Self:
        """The same house with another policy of attempts."""
        changed = msgspec.structs.replace(self.service.policy, **changes)
        self.service = dataclasses.replace(self.service, policy=changed)
        self.router = Router(self.service)
        return self

    def _endpoint(self, slug: str, pool: Pool) -> Endpoint:
        dialect = self.speaks.get(slug, OpenAI())
        target, key = "/v1" + dialect.path, Secret("")
        return Endpoint(slug, dialect, pool, target, key, H1Limits(), AnswerLimits())

    def _lookup(self, found: bytes) -> KeyRecord | None:
        return self.record if found == self.record.digest else None

    async def ask(self, **fields: Any) -> Reply:
        """A chat request and its whole answer."""
        return await self.send(
            "POST", "/v1/chat/completions", f"authorization: Bearer {KEY}", body=chat(**fields)
        )

    async def get(self, path: str, *fields: str, method: str = "GET") -> Reply:
        """A request with the key."""
        return await self.send(method, path, f"authorization: Bearer {KEY}", *fields)

    async def send(self, method: str, path: str, *fields: str, body: bytes | None = None) -> Reply:
        """Any request, on a connection of its own that ends with it."""
        talking = Talking(self, request(method, path, "connection: close", *fields, body=body))
        await talking.until(lambda: talking.ended)
        return talking.answer(method)

    def counted(self, name: str, **labels: str) -> float:
        """One sample of the metrics; 0 where there is none."""
        return sample(self.metrics.collect(), name, labels)

    def at_rest(self) -> bool:
        """Whether no attempt holds a connection, and no request a reservation."""
        if isinstance(self.limits, NoLimits) and self.limits.held:
            return False
        return all(pool.statistics().leased == 0 for pool in self.pools.values())


class Talking:
    """A caller that has sent a request and listens, unless it is deaf.

    `pieces` are what came, and when.
    """

    def __init__(self, house: House, data: bytes, *, deaf: bool = False) -> None:
        server, self.link = duplex_pair()
        self.pieces: list[tuple[float, bytes]] = []
        self.ended = False
        self._news = trio.Event()
        house.nursery.start_soon(self._serve, server, house.router)
        house.nursery.start_soon(self._speak, data)
        if not deaf:
            house.nursery.start_soon(self._listen)

    async def _serve(self, server: MemoryDuplex, router: Router) -> None:
        params = ConnectionParams(head=math.inf, idle=math.inf)
        await Connection(server, router, params).serve()
        server.close()

    async def _speak(self, data: bytes) -> None:
        await self.link.send_all(data)

    async def _listen(self) -> None:
        with suppress(Broken):
            while data := await self.link.receive():
                self.pieces.append((trio.current_time(), data))
                self._tell()
        self.ended = True
        self._tell()
        self.link.close()

    def _tell(self) -> None:
        news, self._news = self._news, trio.Event()
        news.set()

    async def until(self, fact: Callable[[], bool]) -> None:
        """Until it is true; looks when bytes or the end have come."""
        while not fact():
            await self._news.wait()

    @property
    def raw(self) -> bytes:
        """Every byte that came."""
        return b"".join(data for _, data in self.pieces)

    def answer(self, method: str = "POST") -> Reply:
        """What came as a response, as far as it came."""
        response = http.client.HTTPResponse(_Bytes(self.raw), method=method)
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        try:
            return Reply(response.status, headers, response.read())
        except http.client.IncompleteRead as cut:
            return Reply(response.status, headers, cut.partial, whole=False)


class _Bytes:
    """What http.client needs of a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _: str) -> io.BytesIO:
        return io.BytesIO(self._data)

"""The whole configuration in, the narrow parameters of one room out.

Every room takes a small frozen value of its own and never sees the configuration; these functions
are the one place that knows which key becomes which parameter.
"""

from kproxy.config.http2 import h2_limits
from kproxy.config.load import Config
from kproxy.downstream.connection import ConnectionParams
from kproxy.downstream.date import DateSource
from kproxy.downstream.exchange import BodyLimits
from kproxy.downstream.listener import ListenerParams
from kproxy.routing.budget import BudgetParams
from kproxy.routing.health import BreakerParams
from kproxy.routing.live import HealthParams
from kproxy.routing.plan import AttemptPolicy, RoutingPolicy, Timeouts
from kproxy.schema.jsonlimits import JsonLimits
from kproxy.store.memories import MemoriesParams
from kproxy.transport.accept import AcceptLimits
from kproxy.wire.limits import H1Limits

__all__ = [
    "attempt_policy",
    "health_params",
    "hedge_budget",
    "json_limits",
    "listener_params",
    "memories_params",
    "repeat_budget",
]


def attempt_policy(config: Config) -> AttemptPolicy:
    """How attempts are made."""
    times, attempts = config.timeouts, config.attempts
    return AttemptPolicy(
        timeouts=Timeouts(times.total, times.first_token, times.gap),
        strategy=attempts.strategy,
        retries=attempts.retries,
        beside=attempts.beside,
        rescue=attempts.rescue,
        hedge_floor=attempts.hedge_floor_ms / 1000,
        hedge_samples=attempts.hedge_samples,
        routing=RoutingPolicy(config.routing.dial, config.routing.floors),
    )


def hedge_budget(config: Config) -> BudgetParams:
    """For attempts beside others; a share of 0 allows none."""
    share = config.attempts.hedge_share
    if not share:
        return BudgetParams(share, floor=0.0, start=0.0)
    return BudgetParams(share, start=10.0)  # the slow ones of the first minutes, too


def repeat_budget(config: Config) -> BudgetParams:
    """For asking again who has just failed. A lone provider's caller has nobody else to ask, so
    there is more of it than of hedges: Finagle starts with ten and pays in as many a second."""
    share = config.attempts.repeat_share
    if not share:
        return BudgetParams(share, floor=0.0, start=0.0)
    return BudgetParams(share, floor=1.0, reserve=100.0, start=10.0)


def health_params(config: Config) -> HealthParams:
    """When a route rests, and for how long."""
    attempts = config.attempts
    return HealthParams(
        BreakerParams(
            attempts.breaker_failures, attempts.breaker_rest, attempts.breaker_longest_rest
        ),
        attempts.credential_rest,
    )


def json_limits(config: Config) -> JsonLimits:
    """The largest shape of a request's JSON."""
    limits = config.limits
    return JsonLimits(
        depth=limits.json_depth,
        digits=limits.json_digits,
        members=limits.json_members,
        messages=limits.messages,
        values=limits.json_values,
    )


def listener_params(config: Config, date: DateSource) -> ListenerParams:
    """What callers may do, and how long it may take; `date` writes the Date field."""
    limits, times = config.limits, config.timeouts
    return ListenerParams(
        connection=ConnectionParams(
            head=times.head,
            idle=times.keep_alive,
            half_close=config.half_close,
            h1=H1Limits(
                request_line=limits.request_line,
                field=limits.field,
                fields=limits.fields,
                count=limits.field_count,
                chunk_line=limits.chunk_line,
                chunk_extensions=limits.chunk_extensions,
                trailers=limits.trailers,
            ),
            h2=h2_limits(limits.http2),
            body=BodyLimits(limits.body, times.body_read, times.body),
            date=date,
        ),
        accept=AcceptLimits(
            limits.connections,
            limits.connections_per_address,
            limits.stream_buffer,
            times.handshake,
            limits.handshakes,
        ),
        stall=times.write,
    )


def memories_params(config: Config) -> MemoriesParams:
    """How much is remembered."""
    memory = config.plugins.memory
    return MemoriesParams(memory.most, memory.recalled, memory.seconds)

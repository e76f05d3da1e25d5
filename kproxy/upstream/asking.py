"""One question to an endpoint that is no model: a JSON body out, the whole JSON answer in.

It is an attempt like any other (connections kept, sizes bounded, one deadline), without a plan:
nobody else can be asked.
"""

import trio

from kproxy.errors import Fault, FaultKind, Rejected
from kproxy.upstream.attempt import Attempt, Timing
from kproxy.upstream.endpoint import Endpoint

__all__ = ["ask"]


async def ask(endpoint: Endpoint, patience: float, body: bytes) -> bytes:
    """The body of a 200, within `patience` seconds. Raises Fault, the connection closed."""
    now = trio.current_time()
    attempt = Attempt(endpoint, "", Timing(now, now + patience, now + patience, patience))
    try:
        await attempt.open(endpoint.request(body, []))
        answer = await attempt.read_whole()
        attempt.finish()
    except Rejected as refusal:
        raise Fault(
            FaultKind.UNAVAILABLE, "it refused the question", status=refusal.status
        ) from refusal
    finally:
        attempt.close()
    return answer

"""What can go wrong, named by whose fault it is (house plan 4.5).

Three questions are asked of every failure: whose fault, may it be tried elsewhere, what does the
caller see. The class answers the first two; `downstream/respond.py` alone answers the third.
"""

import enum

__all__ = [
    "BrokenStream",
    "DeadlineExceeded",
    "Exhausted",
    "Fault",
    "FaultKind",
    "KproxyError",
    "NotCarried",
    "Rejected",
    "Withheld",
    "refusal_in",
    "rejected_field",
]


class KproxyError(Exception):
    """Base of everything kproxy raises on purpose; never raised itself."""


def refusal_in(error: BaseException) -> KproxyError | None:
    """The refusal that an error is, or that a nursery has wrapped; None: a bug is in it, too."""
    if not isinstance(error, BaseExceptionGroup):
        return error if isinstance(error, KproxyError) else None
    found = [refusal_in(one) for one in error.exceptions]
    return None if None in found else found[0]


class Rejected(KproxyError):
    """The caller's fault, or a limit of theirs: answered at once, tried nowhere else.

    `code` and `param` go into the error body as they are (contract section 4); `headers` are
    added to the answer (`retry-after`, `allow`). `close` says that the connection's framing can
    no longer be trusted, or that the rest of the body will not be read.
    """

    def __init__(
        self, status: int, code: str, message: str, *, param: str | None = None, close: bool = False
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.close = close
        self.headers: tuple[tuple[bytes, bytes], ...] = ()
        self.type: str | None = None  # None: the family that belongs to the status

    def __repr__(self) -> str:
        return f"<Rejected {self.status} {self.code}: {self.message}>"


class NotCarried(Rejected):
    """A request that one provider's API has no words for: nothing was sent, and another may do.

    `param` names the field.
    """

    def __init__(self, param: str, message: str) -> None:
        super().__init__(400, "unsupported_parameter", message, param=param)


class Withheld(Rejected):
    """A provider has answered, and a rule of the operator's keeps it from the caller: unlike any
    other refusal it is charged, since the caller had a provider write it."""

    def __init__(self, message: str) -> None:
        super().__init__(400, "content_blocked", message)


def rejected_field(param: str, message: str) -> Rejected:
    """A 400 that names the field (contract section 2)."""
    return Rejected(400, "invalid_request_error", message, param=param)


class FaultKind(enum.Enum):
    """Every way an attempt at a provider can fail before the commit point or after it."""

    CONNECT = "connect"  # refused, unreachable, no such name
    CONNECT_TIMEOUT = "connect_timeout"
    TLS = "tls"  # handshake or certificate
    POOL_TIMEOUT = "pool_timeout"  # no slot at this endpoint in time
    RESET = "reset"  # the connection broke
    CLOSED_EARLY = "closed_early"  # ended before the answer was whole
    FIRST_TOKEN_TIMEOUT = "first_token_timeout"  # noqa: S105
    GAP_TIMEOUT = "gap_timeout"  # silence inside an answer
    TOTAL_TIMEOUT = "total_timeout"
    BAD_FRAMING = "bad_framing"  # not HTTP, or HTTP that contradicts itself
    BAD_BODY = "bad_body"  # HTTP, but not the JSON or the events we speak
    TOO_LARGE = "too_large"  # over our limit for a provider's answer
    ERROR_EVENT = "error_event"  # an error object inside a 200
    NO_CONTENT = "no_content"  # ended well without a single token or a finish reason
    CREDENTIAL = "credential"  # 401, 403: our key is not accepted
    RATE_LIMITED = "rate_limited"  # 429
    NOT_FOUND = "not_found"  # 404: it does not know the model, or the address is not right
    UNAVAILABLE = "unavailable"  # 408, 5xx and other statuses that another provider may not share
    NO_PREFILL = "no_prefill"  # it does not go on with a text that another has begun
    RESTING = "resting"  # not asked: its breaker is open, or it said when to come back


class Fault(KproxyError):
    """A provider failed before the commit point: another may be tried unseen.

    `detail` is ours, short, and free of secrets and of the provider's text. `retry_after` is in
    seconds where the provider named it.
    """

    def __init__(
        self,
        kind: FaultKind,
        detail: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.status = status
        self.retry_after = retry_after

    def __repr__(self) -> str:
        return f"<Fault {self.kind.value}: {self.detail}>"


class Exhausted(KproxyError):
    """Every attempt of a plan failed. Raised from an ExceptionGroup of the faults.

    `retry_after` is in seconds, where it is known when an endpoint may be asked again.
    """

    def __init__(self, faults: tuple[tuple[str, Fault], ...]) -> None:
        super().__init__("; ".join(f"{where}: {fault.detail}" for where, fault in faults))
        self.faults = faults  # ("provider/model", fault), in the order they happened
        self.retry_after: float | None = None


class DeadlineExceeded(KproxyError):
    """The request's own deadline ran out before an answer began, or between two of its parts."""


class BrokenStream(KproxyError):
    """A provider failed after the commit point: one error event, and the connection closes."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.detail)
        self.fault = fault

"""Whatever went wrong, as an answer: the only place where an error becomes HTTP.

An error in; status, fields and OpenAI's error body out (contract section 4). The table of classes
is total: a test walks `errors.py` and fails when a class has no row here.
"""

import math

import msgspec

from kproxy.errors import BrokenStream, DeadlineExceeded, Exhausted, Fault, Rejected
from kproxy.schema.errors import error_body
from kproxy.wire.events import Headers, ProtocolError

__all__ = ["JSON_TYPE", "Answer", "error_event", "to_answer"]

JSON_TYPE = (b"content-type", b"application/json")

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "invalid_request_error",
    405: "invalid_request_error",
    408: "invalid_request_error",
    412: "invalid_request_error",
    413: "request_too_large",
    414: "invalid_request_error",
    415: "invalid_request_error",
    417: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
    431: "invalid_request_error",
    500: "api_error",
    501: "invalid_request_error",
    503: "service_unavailable_error",
    504: "upstream_error",
    505: "invalid_request_error",
}
"""The error family of each status, as OpenAI's clients and their users know them."""

PROTOCOL_CODES = {
    408: "request_timeout",
    413: "request_too_large",
    414: "uri_too_long",
    431: "headers_too_large",
}


class Answer(msgspec.Struct, frozen=True):
    """A whole response; `close` says that the connection ends with it. `code`: of an error."""

    status: int
    headers: Headers
    body: bytes
    close: bool = False
    code: str = ""


def to_answer(error: Exception) -> Answer:
    """The answer to a request that failed with `error` before anything was sent."""
    match error:
        case Rejected():
            return _rejected(error)
        case Exhausted():
            return _exhausted(error)
        case DeadlineExceeded():
            return _late("an answer began")
        case ProtocolError():
            code = PROTOCOL_CODES.get(error.status, "invalid_request_error")
            return _answer(error.status, error.message, None, code, close=True)
        case BrokenStream():
            return _fault(error.fault)
        case Fault():
            return _fault(error)
        case _:
            return _answer(500, "An internal error occurred.", None, "internal_error")


def _rejected(error: Rejected) -> Answer:
    family = error.type or TYPES.get(error.status, "invalid_request_error")
    body = error_body(error.message, family, error.param, error.code)
    return Answer(error.status, [JSON_TYPE, *error.headers], body, error.close, error.code)


def _exhausted(error: Exhausted) -> Answer:
    """Every attempt failed. The faults are named; their text is ours, so it holds no secret."""
    message = f"All models are currently unavailable ({error})."
    answer = _answer(503, message, None, "all_models_unavailable")
    waits = [fault.retry_after for _, fault in error.faults if fault.retry_after is not None]
    if error.retry_after is not None:
        waits = [error.retry_after]
    if waits:
        answer.headers.append((b"retry-after", b"%d" % max(1, math.ceil(min(waits)))))
    return answer


def _late(missed: str) -> Answer:
    message = f"The request's deadline ran out before {missed}."
    return _answer(504, message, None, "deadline_exceeded")


def _fault(fault: Fault) -> Answer:
    return _answer(503, f"The provider failed: {fault.detail}.", None, "upstream_error")


def _answer(
    status: int, message: str, param: str | None, code: str, *, close: bool = False
) -> Answer:
    family = TYPES.get(status, "invalid_request_error")
    return Answer(status, [JSON_TYPE], error_body(message, family, param, code), close, code)


def error_event(error: Exception) -> bytes:
    """The one event that says a stream which has begun cannot go on (contract section 3)."""
    late = isinstance(error, DeadlineExceeded)
    answer = _late("the answer was whole") if late else to_answer(error)
    return b"data: " + answer.body + b"\n\n"

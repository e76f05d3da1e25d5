"""Spans as values in, a body for an OpenTelemetry collector out (OTLP/HTTP, binary protobuf).

The one file that knows OpenTelemetry's library, which is an extra and is imported where tracing is
switched on. It is the protocol's messages alone (`opentelemetry-proto`: 2 distributions, 6 MB of
memory, no thread). The SDK with its exporter would bring twelve, 25 MB and a thread; what it does
beyond these messages is in `ledger/spans.py`, `traces.py` and `collector.py`, where a clock can be
virtual and nothing is global.
(https://opentelemetry.io/docs/specs/otlp/)
"""

from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

import msgspec

from kproxy import __version__
from kproxy.admission.keys import Secret
from kproxy.ledger.spans import CLIENT, SERVER, Span, Value
from kproxy.ledger.trace import Sampler

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
    from opentelemetry.proto.trace.v1.trace_pb2 import Span as Message

__all__ = ["EXTRA", "Encoder", "OtlpParams", "is_installed"]

EXTRA = "kproxy[otel]"

SCOPE = "kproxy"

HAS_REMOTE, IS_REMOTE = 0x100, 0x200
"""Bits of a span's flags: whether its parent is known to be of another process, and is."""

SAMPLED = 0x01


class OtlpParams(msgspec.Struct, frozen=True):
    """Where spans go, and which. `endpoint` is whole, `timeout` seconds for a batch with all its
    retries. `certificate`: a file of authorities to trust instead of the system's."""

    endpoint: str
    headers: tuple[tuple[str, Secret], ...]
    resource: Mapping[str, str]  # who sends them; service.name among it
    sampler: Sampler
    older: bool  # renamed attributes under both names
    timeout: float
    compressed: bool
    certificate: str | None = None


def is_installed() -> bool:
    """Whether the extra is there."""
    try:
        return find_spec("opentelemetry.proto.collector.trace.v1") is not None
    except ModuleNotFoundError:
        return False


class Encoder:
    """Makes bodies. `resource` is who sends them. Raises ImportError without the extra."""

    def __init__(self, resource: Mapping[str, str]) -> None:
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
        from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
        from opentelemetry.proto.common.v1 import common_pb2
        from opentelemetry.proto.resource.v1 import resource_pb2
        from opentelemetry.proto.trace.v1 import trace_pb2

        self._bad_message = DecodeError
        self._service, self._common, self._trace = trace_service_pb2, common_pb2, trace_pb2
        self._resource = resource_pb2.Resource(attributes=self._attributes(resource.items()))
        self._scope = common_pb2.InstrumentationScope(name=SCOPE, version=__version__)
        self._kinds = {
            SERVER: trace_pb2.Span.SPAN_KIND_SERVER,
            CLIENT: trace_pb2.Span.SPAN_KIND_CLIENT,
        }

    def encode(self, spans: Sequence[Span]) -> bytes:
        """One request to the collector; some 40 us for each span, so fit for a thread."""
        messages = [self._span(span) for span in spans]
        scope = self._trace.ScopeSpans(scope=self._scope, spans=messages)
        whole = self._trace.ResourceSpans(resource=self._resource, scope_spans=[scope])
        request = self._service.ExportTraceServiceRequest(resource_spans=[whole])
        body: bytes = request.SerializeToString()
        return body

    def rejected(self, answer: bytes) -> int:
        """How many spans a collector that said yes has not taken all the same."""
        try:
            told = self._service.ExportTraceServiceResponse.FromString(answer)
        except self._bad_message:  # whoever said yes is no collector that says more
            return 0
        return int(told.partial_success.rejected_spans)

    def _span(self, span: Span) -> "Message":
        flags = SAMPLED | HAS_REMOTE | (IS_REMOTE if span.is_remote else 0)
        status = self._trace.Status(code=self._trace.Status.STATUS_CODE_ERROR)
        return self._trace.Span(
            trace_id=bytes.fromhex(span.trace_id),
            span_id=bytes.fromhex(span.span_id),
            parent_span_id=bytes.fromhex(span.parent_id),
            trace_state=span.state,
            name=span.name,
            kind=self._kinds[span.kind],
            start_time_unix_nano=span.start,
            end_time_unix_nano=span.end,
            attributes=self._attributes(span.attributes.items()),
            status=status if span.is_error else None,
            flags=flags,
        )

    def _attributes(self, named: Iterable[tuple[str, Value]]) -> "list[KeyValue]":
        return [self._common.KeyValue(key=name, value=self._value(value)) for name, value in named]

    def _value(self, value: Value) -> "AnyValue":
        made = self._common.AnyValue
        if isinstance(value, str):
            return made(string_value=value)
        if isinstance(value, bool):
            return made(bool_value=value)
        if isinstance(value, int):
            return made(int_value=value)
        if isinstance(value, float):
            return made(double_value=value)
        listed = self._common.ArrayValue(values=[self._value(one) for one in value])
        return made(array_value=listed)

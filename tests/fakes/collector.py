"""An OpenTelemetry collector on loopback: it keeps what it is sent, or refuses it.

Bodies are decoded by the protocol's own messages, so what is not OTLP fails here. It runs in a
thread, for tests with real processes.
"""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

__all__ = ["Collecting", "attributes", "collecting", "decoded", "spans_in"]


def decoded(body: bytes) -> ExportTraceServiceRequest:
    """A body as a message; raises what the library does for anything else."""
    return ExportTraceServiceRequest.FromString(body)


def spans_in(request: ExportTraceServiceRequest) -> list[Span]:
    """All of it."""
    return [
        span for one in request.resource_spans for scope in one.scope_spans for span in scope.spans
    ]


def attributes(holder: Any) -> dict[str, Any]:
    """Of a span or a resource, as Python has them."""
    return {one.key: _value(one.value) for one in holder.attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return getattr(value, kind)


@dataclass
class Collecting:
    """What has come: whole requests, with path and headers. `status`: what it answers next."""

    port: int = 0
    status: int = 200
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        """What `endpoint` is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def requests(self) -> list[ExportTraceServiceRequest]:
        """What was taken."""
        return [decoded(body) for body in self.bodies]

    @property
    def spans(self) -> list[Span]:
        """Those of all requests."""
        return [span for request in self.requests for span in spans_in(request)]

    def named(self, name: str) -> list[Span]:
        """Those of that name."""
        return [span for span in self.spans if span.name == name]


@contextmanager
def collecting(port: int = 0) -> Iterator[Collecting]:
    """A collector, until the block ends; then nobody listens there."""
    kept = Collecting()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            if kept.status == 200:
                kept.paths.append(self.path)
                kept.headers.append({name.lower(): value for name, value in self.headers.items()})
                kept.bodies.append(body)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(kept.status)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *ignored: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    kept.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield kept
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

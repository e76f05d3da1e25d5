"""Spans as a collector reads them, decoded by the protocol's own messages."""

import subprocess
import sys

import msgspec

from kproxy import __version__
from kproxy.ledger.spans import Span
from kproxy.telemetry.otlp import Encoder, is_installed
from tests.fakes.collector import attributes, decoded, spans_in

REMOTE_KNOWN, REMOTE = 0x101, 0x301
SPAN = Span(
    trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
    span_id="a" * 16,
    parent_id="",
    state="",
    name="POST /v1/chat/completions",
    kind="server",
    start=1_000_000_000_000,
    end=1_002_500_000_000,
    attributes={"text": "é", "flag": True, "number": -5, "share": 0.5, "list": ("a", "b")},
)
CHILD = msgspec.structs.replace(
    SPAN, span_id="b" * 16, parent_id="a" * 16, kind="client", is_error=True, state="v=1"
)


def test_what_is_encoded_is_what_was_given() -> None:
    remote = msgspec.structs.replace(SPAN, parent_id="c" * 16, is_remote=True)
    request = decoded(Encoder({"service.name": "edge"}).encode([SPAN, CHILD, remote]))
    (whole,) = request.resource_spans
    assert attributes(whole.resource) == {"service.name": "edge"}
    (scope,) = whole.scope_spans
    assert (scope.scope.name, scope.scope.version) == ("kproxy", __version__)
    root, child, distant = spans_in(request)
    assert (root.trace_id.hex(), root.span_id.hex()) == (SPAN.trace_id, SPAN.span_id)
    assert (root.parent_span_id, root.trace_state, root.name) == (b"", "", SPAN.name)
    assert (root.start_time_unix_nano, root.end_time_unix_nano) == (SPAN.start, SPAN.end)
    assert attributes(root) == SPAN.attributes | {"list": ["a", "b"]}
    assert attributes(root)["flag"] is True
    assert (root.kind, child.kind) == (root.SPAN_KIND_SERVER, root.SPAN_KIND_CLIENT)
    assert (child.parent_span_id.hex(), child.trace_state) == ("a" * 16, "v=1")
    assert (root.HasField("status"), child.status.code) == (False, child.status.STATUS_CODE_ERROR)
    assert child.status.message == ""
    assert [one.flags for one in (root, child, distant)] == [REMOTE_KNOWN, REMOTE_KNOWN, REMOTE]


def test_what_a_collector_has_not_taken_is_read() -> None:
    encoder = Encoder({})
    assert encoder.rejected(b"") == 0
    assert encoder.rejected(b"\x0a\x02\x08\x07") == 7  # partial_success { rejected_spans: 7 }
    assert encoder.rejected(b"<html>") == 0


def test_the_extra_is_found_here() -> None:
    assert is_installed()


def test_nothing_is_loaded_where_nobody_traces() -> None:
    """Neither by `import kproxy` nor by what serves."""
    code = (
        "import sys, kproxy.app\n"
        "names = ('google.protobuf', 'opentelemetry', 'kproxy.telemetry.collector')\n"
        "print([name for name in names if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr

"""Traces of real processes at a real collector: what nests in what, and what no collector costs.

Two kproxys stand behind each other, so that the second one shows what a provider makes of the trace
that it is told. The collector decodes with the protocol's own messages.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.fakes.collector import Collecting, attributes, collecting
from tests.fakes.server import Served, provider_config, served, serving, simulating, until

pytestmark = pytest.mark.loopback

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
CANARY = "canary"
HELLO: Any = [{"role": "user", "content": f"Tell me of the {CANARY}-prompt."}]
CHAT = "POST /v1/chat/completions"
SIM = "[sim]\nfirst_token_ms = 1\ntoken_ms = 0.1\njitter = 0\ntokens = '5'\n"


def otel(url: str, service: str, **more: str) -> str:
    lines = "".join(f"{name} = {value}\n" for name, value in more.items())
    return f'[telemetry.otel]\nendpoint = "{url}"\nservice = "{service}"\n{lines}'


def client_of(server: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key or "none", max_retries=0)


@contextmanager
def two_in_a_row(folder: Path, collector: Collecting) -> Iterator[tuple[Served, Served]]:
    """The front with a secret for the collector, and the kproxy that is its provider."""
    behind = 'auth = "none"\n' + SIM + otel(collector.url, "behind")
    with serving(folder / "behind", behind) as back:
        secret = f'{{ authorization = "Bearer {CANARY}-collector" }}'
        front = otel(collector.url, "front", headers=secret, compression='"gzip"')
        providers = provider_config(behind=f"{back.url}/v1")
        key = f'api_key = "{CANARY}-provider-key"\n'
        with serving(folder / "front", providers + key + front) as one:
            yield one, back


def test_the_trace_of_a_request_goes_through_to_the_provider(tmp_path: Path) -> None:
    with collecting() as collector:
        with two_in_a_row(tmp_path, collector) as (front, back):
            with client_of(front) as client:
                answer = client.chat.completions.create(
                    model="behind/gpt-4.1", messages=HELLO, extra_headers=PARENT
                )
                chunks = list(
                    client.chat.completions.create(
                        model="behind/gpt-4.1", messages=HELLO, stream=True
                    )
                )
            until(lambda: len(collector.spans) == 8, "two spans of each of two in each process")
            counted = (front.metrics(), back.metrics())
        assert [one["kproxy_spans_exported_total"] for one in counted] == [4, 4]
        assert [one["kproxy_spans_dropped_total"] for one in counted] == [0, 0]
        errors = front.process.errors + back.process.errors
    by_id = {span.span_id: span for span in collector.spans}
    whole = [span for span in collector.named(CHAT) if span.trace_id.hex() == TRACE]
    outer = next(span for span in whole if span.parent_span_id.hex() == CALLER)
    (asked,) = [span for span in by_id.values() if span.parent_span_id == outer.span_id]
    (inner,) = [span for span in by_id.values() if span.parent_span_id == asked.span_id]
    (last,) = [span for span in by_id.values() if span.parent_span_id == inner.span_id]
    names = [span.name for span in (outer, asked, inner, last)]
    assert names == [CHAT, "chat gpt-4.1", CHAT, "chat gpt-4.1"]
    assert {span.trace_id.hex() for span in (outer, asked, inner, last)} == {TRACE}
    for above, below in ((outer, asked), (inner, last)):
        assert above.start_time_unix_nano <= below.start_time_unix_nano
        assert below.end_time_unix_nano <= above.end_time_unix_nano
    said = attributes(asked)
    assert answer.usage is not None
    assert said["gen_ai.usage.output_tokens"] == answer.usage.completion_tokens
    assert said["gen_ai.provider.name"] == "behind"
    assert said["gen_ai.response.model"] == "gpt-4.1"
    assert f"{said['server.address']}:{said['server.port']}" in back.url
    assert attributes(outer)["http.response.status_code"] == 200
    extension = (answer.model_extra or {})["x_kairosroute"]
    assert attributes(outer)["kproxy.receipt_id"] == extension["receipt_id"]
    (streamed,) = [
        attributes(span)
        for span in collector.named("chat gpt-4.1")
        if attributes(span).get("gen_ai.request.stream")
        and attributes(span)["gen_ai.provider.name"] == "behind"
    ]
    assert streamed["gen_ai.response.finish_reasons"] == ["stop"]
    assert streamed["gen_ai.response.time_to_first_chunk"] > 0
    assert chunks
    services = {attributes(one.resource_spans[0].resource)["service.name"]
                for one in collector.requests}  # fmt: skip
    assert services == {"front", "behind"}
    assert set(collector.paths) == {"/v1/traces"}
    assert {one.get("authorization") for one in collector.headers} == {
        None,
        f"Bearer {CANARY}-collector",
    }
    told = answer.choices[0].message.content
    assert told
    for hidden in (CANARY, front.key, told):
        assert not any(hidden.encode() in body for body in collector.bodies)
        assert hidden not in errors


def test_no_collector_costs_spans_and_no_request(tmp_path: Path) -> None:
    with collecting() as gone:
        pass
    with serving_quietly(tmp_path, SIM + otel(gone.url, "alone", timeout="2.0")) as server:
        with client_of(server) as client:
            for _ in range(3):
                assert client.chat.completions.create(model="gpt-4.1", messages=HELLO).choices
        until(lambda: server.metrics()["kproxy_spans_dropped_total"] == 6)
        with collecting(gone.port) as back, client_of(server) as client:
            assert client.chat.completions.create(model="gpt-4.1", messages=HELLO).choices
            until(lambda: server.metrics()["kproxy_spans_exported_total"] == 2)
            assert len(back.spans) == 2
    lines = [line for line in server.process.errors.splitlines() if "kproxy.traces" in line]
    assert len(lines) == 1, "it is said once"
    assert f"{gone.url}/v1/traces: spans are dropped: " in lines[0]
    assert CANARY not in server.process.errors


@contextmanager
def serving_quietly(folder: Path, config: str) -> Iterator[Served]:
    """`serving`, for a server that has something to say on standard error."""
    server = served(folder, config)
    try:
        yield server
        assert server.process.stop() == 0
    finally:
        server.process.stop()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_drain_sends_what_waits(tmp_path: Path, workers: int) -> None:
    with collecting() as collector, simulating(tmp_path / "sim") as provider:
        providers = provider_config(acme=provider.base_url)
        config = f"workers = {workers}\n" + providers + otel(collector.url, "ending")
        with serving_quietly(tmp_path / "kproxy", config) as server:
            with server.caller() as caller:
                begun = caller.begin(model="acme/m!tokens=20!pace=1,50", stream=True)
                assert begun.until(b'"content":"')
                server.process.signal(signal.SIGTERM)
                until(server.refuses)
                assert begun.rest().whole
            # The caller is gone: nothing holds the process for the second that requests gather.
            assert server.process.wait() == 0
        names = sorted(span.name for span in collector.spans)
        assert names == [CHAT, "chat m!tokens=20!pace=1,50"]


def test_workers_count_together(tmp_path: Path) -> None:
    with collecting() as collector, simulating(tmp_path / "sim") as provider:
        providers = provider_config(acme=provider.base_url)
        config = "workers = 2\n" + providers + otel(collector.url, "many")
        with serving_quietly(tmp_path / "kproxy", config) as server:
            for _ in range(8):
                with server.caller() as caller:
                    assert caller.ask(model="acme/m").status == 200
            until(lambda: server.metrics()["kproxy_spans_exported_total"] == 16)
        assert len(collector.spans) == 16


def test_the_environment_alone_switches_it_on(tmp_path: Path) -> None:
    with collecting() as collector:
        environ = {
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_SERVICE_NAME": "named",
            "OTEL_TRACES_SAMPLER": "parentbased_always_off",
        }
        with serving(tmp_path, SIM, **environ) as server, client_of(server) as client:
            client.chat.completions.create(model="gpt-4.1", messages=HELLO)
            client.chat.completions.create(model="gpt-4.1", messages=HELLO, extra_headers=PARENT)
            until(lambda: len(collector.spans) == 2)
        assert {span.trace_id.hex() for span in collector.spans} == {TRACE}
        resource = attributes(collector.requests[0].resource_spans[0].resource)
        assert resource["service.name"] == "named"

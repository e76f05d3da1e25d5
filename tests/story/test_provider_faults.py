"""Everything that `kproxy sim` can do wrong, through kproxy, as a caller sees it.

Two promises are held against the whole table of faults. A pinned model: the right error, or one
error event and a connection that ends without `[DONE]`. Two candidates: the answer of the second,
whole and untouched, unless the first has begun to speak. After each, nothing is left behind.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import openai
import pytest

from kproxy.sim.faults import FAULTS
from tests.fakes.caller import Answer, Caller, chat
from tests.fakes.server import Served, Simulated, provider_config, serving, simulating, until

pytestmark = pytest.mark.loopback

MESSAGES = [{"role": "user", "content": "Tell me about ölbäume and 木."}]
TIMEOUTS = "[timeouts]\nfirst_token = 2.0\ngap = 1.5\ntotal = 15.0\n"
UNSPARED = "[attempts]\nretries = {}\nbreaker_failures = 100\ncredential_rest = 0.001\n"
"""One fault is no reason to spare the provider the next; tests/story/test_sixteen.py is about that.
"""
SOON = {"first_token_ms": 150, "deadline_ms": 400}
"""For a silence: nothing that is still to come is cut short by it."""


@dataclass(frozen=True)
class Good:
    """The provider's whole answer."""


@dataclass(frozen=True)
class Failed:
    """503 `all_models_unavailable`, or 504 where the deadline ran out; and how it is counted."""

    kind: str
    status: int = 503
    retry_after: str | None = None


@dataclass(frozen=True)
class Refused:
    """The provider's word on the caller's content, passed on."""

    status: int
    code: str


@dataclass(frozen=True)
class Broken:
    """Tokens, then one error event and no `[DONE]`.

    On a busy machine kproxy may read the fault together with the first token, and a reset may
    overtake the tokens before it. Nothing has been sent then, so it is a `Failed`. The order is
    certain in test_provider_anything.py, where the provider waits for the caller.
    """

    kind: str = ""


Outcome = Good | Failed | Refused | Broken
SLOWLY = "!pace=5,20"
GOOD = Good()
SILENT = Failed("first_token_timeout")
LATE = Failed("total_timeout", 504)
DOWN = Failed("unavailable")

# fault: what a stream becomes, what a whole answer becomes. A whole answer is not under the
# first-token timer: its provider is silent until it has written everything.
CASES: dict[str, tuple[Outcome, Outcome]] = {
    "refuse": (Failed("reset"), Failed("reset")),
    "reset": (Failed("reset"), Failed("reset")),
    "reset=4": (Broken(), Failed("")),
    "silence": (SILENT, LATE),
    "silence=0.1": (GOOD, GOOD),
    "head-silence": (SILENT, LATE),
    "garbage": (Failed("bad_framing"), Failed("bad_framing")),
    "huge-head": (Failed("bad_framing"), Failed("bad_framing")),
    "slow-loris": (SILENT, LATE),
    "early-hints": (GOOD, GOOD),
    "slow-first-token": (SILENT, LATE),
    "slow-first-token=20,comments": (SILENT, LATE),
    "slow-first-token=20,empty": (SILENT, LATE),
    "slow-first-token=0.1,comments": (GOOD, GOOD),
    "stall=4,0.1": (GOOD, GOOD),
    "stall=4": (Broken("gap_timeout"), LATE),
    "cut=0": (Failed("closed_early"), Failed("closed_early")),
    "cut=4": (Broken("closed_early"), Failed("closed_early")),
    "cut=4,rst": (Broken(), Failed("")),
    "malformed=0": (Failed("bad_body"), Failed("bad_body")),
    "malformed=4": (Broken("bad_body"), Failed("bad_body")),
    "bad-framing=0": (Failed("bad_framing"), Failed("bad_framing")),
    "bad-framing=4": (Broken("bad_framing"), Failed("bad_framing")),
    "error-event": (Failed("error_event"), Failed("error_event")),
    "error-event=4": (Broken("error_event"), Failed("error_event")),
    "no-done": (GOOD, GOOD),
    "no-finish": (Broken("no_content"), Failed("no_content")),
    "no-usage": (GOOD, GOOD),
    "empty": (Failed("closed_early"), Failed("bad_body")),
    "empty=done": (Failed("no_content"), Failed("bad_body")),
    "till-close": (GOOD, GOOD),
    "context-length": (Refused(400, "context_length_exceeded"),) * 2,
    "content-filter": (Refused(400, "content_filter"),) * 2,
    "content-filter=4": (GOOD, GOOD),
    "no-prefill": (GOOD, GOOD),
    "html": (Failed("bad_body"), Failed("bad_body")),
    "html=502": (DOWN, DOWN),
    "long-length": (GOOD, Failed("closed_early")),
    "long-length=10,hang": (GOOD, LATE),
    "short-length": (GOOD, Failed("bad_body")),
    "once=500": (DOWN, DOWN),
    "flap=0,1,502": (DOWN, DOWN),
    "flap-seconds=0,10,504": (DOWN, DOWN),
    "ok": (GOOD, GOOD),
    "tokens=30": (GOOD, GOOD),
    "pace=1,1": (GOOD, GOOD),
    "echo": (GOOD, GOOD),
    "reasoning=4": (GOOD, GOOD),
    "400": (Refused(400, "invalid_request_error"),) * 2,
    "401": (Failed("credential", retry_after="1"),) * 2,  # after the rest of its provider
    "403": (Failed("credential"),) * 2,
    "404": (Failed("not_found"),) * 2,
    "408": (DOWN, DOWN),
    "413": (Refused(413, "request_too_large"),) * 2,
    "422": (Refused(422, "invalid_request_error"),) * 2,
    "429=7": (Failed("rate_limited", retry_after="7"),) * 2,
    "500": (DOWN, DOWN),
    "502": (DOWN, DOWN),
    "503=9": (Failed("unavailable", retry_after="9"),) * 2,
    "504": (DOWN, DOWN),
    "529": (DOWN, DOWN),
}

OTHER_WORDS = {"content-filter=4", "no-usage", "tokens=30", "echo", "reasoning=4"}
"""Faults that leave another answer, but a whole one; all others leave the words as they are."""


def test_every_fault_of_the_simulation_is_in_the_table() -> None:
    assert {fault.partition("=")[0] for fault in CASES} == set(FAULTS)


@pytest.fixture(scope="module")
def sim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulated]:
    with simulating(tmp_path_factory.mktemp("sim")) as sim:
        yield sim


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, sim: Simulated) -> Iterator[Served]:
    config = provider_config(acme=sim.base_url) + TIMEOUTS + UNSPARED.format(0)
    with serving(tmp_path_factory.mktemp("serve"), config) as server:
        yield server


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, sim: Simulated) -> Iterator[Served]:
    providers = provider_config(acme=sim.base_url, good=sim.base_url)
    config = providers + TIMEOUTS + UNSPARED.format(1)
    with serving(tmp_path_factory.mktemp("pair"), config) as server:
        yield server


@pytest.fixture
def client(server: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0) as client:
        yield client


def direct(sim: Simulated, fault: str, *, stream: bool) -> Answer:
    """What the provider itself says."""
    with Caller(sim.address) as caller:
        options = {"stream_options": {"include_usage": True}} if stream else {}
        model = f"gpt-4.1!{fault}"
        return caller.ask(model=model, messages=MESSAGES, stream=stream, **options)


def fault_count(server: Served, kind: str) -> float:
    name = f'kproxy_faults_total{{fault="{kind}",provider="acme"}}'
    return server.metrics().get(name, 0)


def at_rest(server: Served, provider: str = "acme") -> None:
    """No slot and no socket is left, and the next request is served."""
    until(server.at_rest)
    with server.caller() as caller:
        assert caller.ask(model=f"{provider}/gpt-4.1", messages=MESSAGES).status == 200


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("fault", CASES)
def test_a_pinned_model(server: Served, sim: Simulated, fault: str, stream: bool) -> None:
    sim.forget()
    outcome = CASES[fault][0 if stream else 1]
    kind = getattr(outcome, "kind", None)
    before = fault_count(server, kind) if kind else 0
    with server.caller() as caller:
        patience = SOON if outcome in (SILENT, LATE) else {}
        model = f"acme/gpt-4.1!{fault}" + (SLOWLY if isinstance(outcome, Broken) else "")
        model += "" if stream else "!ok"  # a route of its own: a Retry-After is kept
        answer = caller.ask(model=model, messages=MESSAGES, stream=stream, x_kairosroute=patience)
        if isinstance(outcome, Broken) and answer.status == 503:
            outcome = Failed("")
        match outcome:
            case Good():
                as_it_was = fault if fault in OTHER_WORDS else "ok"
                same(answer, direct(sim, as_it_was, stream=stream), stream=stream)
            case Failed():
                failed(answer, outcome)
                assert provider_text(sim, fault, stream=stream) not in answer.body.decode()
            case Refused(status, code):
                assert (answer.status, answer.error["code"]) == (status, code)
            case Broken():
                broken(answer)
                assert caller.closed()
        if not isinstance(outcome, Broken):
            assert caller.get("/v1/models").status == 200, "the connection is kept"
    if kind:
        assert fault_count(server, kind) == before + 1
    at_rest(server)


def same(answer: Answer, there: Answer, *, stream: bool) -> None:
    """The provider's answer, with ours added and nothing else changed."""
    assert answer.status == 200
    assert answer.whole
    assert answer.text == there.text
    if not stream:
        ours, theirs = answer.json(), there.json()
        assert set(ours.pop("x_kairosroute")) >= {"provider", "cost_usd", "attempts"}
        assert ours.pop("model").partition("!")[0] == theirs.pop("model").partition("!")[0]
        assert ours == theirs
        return
    assert answer.data[-1] == "[DONE]"
    assert answer.chunks[-1]["choices"][0]["finish_reason"]
    assert "x_kairosroute" in answer.chunks[-1]
    assert all(chunk["choices"] for chunk in answer.chunks)


def failed(answer: Answer, outcome: Failed) -> None:
    codes = {503: "all_models_unavailable", 504: "deadline_exceeded"}
    assert answer.status == outcome.status
    assert answer.error["code"] == codes[outcome.status]
    assert answer.headers.get("retry-after") == outcome.retry_after
    if outcome.status == 503:
        assert "acme/gpt-4.1!" in answer.error["message"]


def provider_text(sim: Simulated, fault: str, *, stream: bool) -> str:
    """Words of the provider's own error; for most faults there are none."""
    if not fault[:1].isdigit():
        return "<html>"
    return str(direct(sim, fault, stream=stream).error["message"])


def broken(answer: Answer) -> None:
    """Some of the answer, one error event at the end, no `[DONE]`, no end of the framing."""
    assert answer.status == 200
    assert not answer.whole
    assert answer.text
    assert "[DONE]" not in answer.data
    assert set(answer.chunks[-1]) == {"error"}
    assert set(answer.chunks[-1]["error"]) == {"message", "type", "param", "code"}
    assert not any("error" in chunk for chunk in answer.chunks[:-1])
    assert not any(
        choice["finish_reason"] for chunk in answer.chunks[:-1] for choice in chunk["choices"]
    )


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_with_a_second_candidate(pair: Served, sim: Simulated, stream: bool) -> None:
    """All faults at once, so that the silences pass together."""
    sim.forget()
    expected = direct(sim, "ok", stream=stream).text
    own = "" if stream else "!ok"
    position = 0 if stream else 1
    spared = [
        fault
        for fault, outcomes in CASES.items()
        if isinstance(outcomes[position], Failed) and outcomes[position] != LATE
    ]

    def ask(fault: str) -> Answer:
        with pair.caller() as caller:
            models = [f"acme/gpt-4.1!{fault}{own}", "good/gpt-4.1"]
            return caller.ask(messages=MESSAGES, stream=stream, x_kairosroute={"models": models})

    with ThreadPoolExecutor(len(spared)) as pool:
        answers = dict(zip(spared, pool.map(ask, spared), strict=True))
    for fault, answer in answers.items():
        assert (fault, answer.status, answer.text) == (fault, 200, expected)
        assert answer.headers["x-kairosroute-provider"] == "good"
        last = answer.chunks[-1] if stream else answer.json()
        assert last["x_kairosroute"]["attempts"] == 2, fault
    at_rest(pair)


@pytest.mark.parametrize("fault", ["400", "413", "422", "context-length", "content-filter"])
def test_what_the_provider_says_about_the_content_is_not_tried_elsewhere(
    pair: Served, fault: str
) -> None:
    models = [f"acme/gpt-4.1!{fault}", "good/gpt-4.1"]
    with pair.caller() as caller:
        answer = caller.ask(messages=MESSAGES, x_kairosroute={"models": models})
    assert answer.status == int(fault) if fault.isdigit() else 400


def test_a_provider_that_does_not_listen(
    server: Served, sim: Simulated, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with simulating(tmp_path_factory.mktemp("closed"), "--fault", "refuse") as closed:
        providers = provider_config(acme=closed.base_url, good=sim.base_url)
        providers += UNSPARED.format(1)
        with serving(tmp_path_factory.mktemp("front"), providers) as front, front.caller() as one:
            failed(one.ask(model="acme/gpt-4.1!"), Failed("connect"))
            assert fault_count(front, "connect") == 2, "once more after a while"
            chosen = {"models": ["acme/gpt-4.1", "good/gpt-4.1"]}
            assert one.ask(stream=True, x_kairosroute=chosen).data[-1] == "[DONE]"
            at_rest(front, "good")


@pytest.mark.parametrize("fault", [f for f, (out, _) in CASES.items() if isinstance(out, Broken)])
def test_the_openai_client_raises_in_a_broken_stream(client: openai.OpenAI, fault: str) -> None:
    model = f"acme/gpt-4.1!{fault}{SLOWLY}"
    with (
        pytest.raises(openai.APIError),
        client.chat.completions.create(model=model, messages=MESSAGES, stream=True) as stream,
    ):
        for _ in stream:
            pass


def test_an_error_before_the_first_token_is_a_status_for_the_openai_client(
    client: openai.OpenAI,
) -> None:
    model = "acme/gpt-4.1!cut=0"
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model=model, messages=MESSAGES, stream=True)
    assert caught.value.status_code == 503
    assert caught.value.code == "all_models_unavailable"


def test_a_failure_behind_a_heartbeat_is_an_error_event(
    sim: Simulated, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The 200 has left with the first heartbeat, so the failure can only be told in the stream."""
    config = provider_config(acme=sim.base_url) + "[timeouts]\nheartbeat = 0.05\n"
    with serving(tmp_path_factory.mktemp("beat"), config) as server, server.caller() as caller:
        patience = {"first_token_ms": 300}
        body = chat(model="acme/gpt-4.1!silence", stream=True, x_kairosroute=patience)
        answer = caller.post(body)
        assert answer.status == 200
        assert not answer.whole
        assert answer.body.startswith(b": waiting\n\n")
        assert [set(chunk) for chunk in answer.chunks] == [{"error"}]
        assert caller.closed()

"""The caller hangs up, at any moment: the provider's connection is closed, and nothing stays.

The simulated provider counts who left in the middle of an answer. That it happens is tested here;
how soon, bench measures.
"""

import socket
from collections.abc import Iterator

import openai
import pytest

from tests.fakes.caller import Caller, chat, request
from tests.fakes.server import Served, Simulated, provider_config, serving, simulating, until

pytestmark = pytest.mark.loopback

TIMES = 30
STREAMING = {"model": "acme/gpt-4.1!tokens=1000!pace=1,50", "stream": True}
SILENT = {"model": "acme/gpt-4.1!silence"}


@pytest.fixture(scope="module")
def sim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulated]:
    with simulating(tmp_path_factory.mktemp("sim")) as sim:
        yield sim


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, sim: Simulated) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("serve"), provider_config(acme=sim.base_url)) as server:
        yield server


@pytest.fixture(autouse=True)
def counted_from_zero(sim: Simulated) -> None:
    sim.forget()


def ask(caller: Caller, **fields: object) -> None:
    data = request("POST", "/v1/chat/completions", caller.authorization, body=chat(**fields))
    caller.send(data)


def playing(sim: Simulated) -> int:
    stats = sim.ask("/sim/stats")
    assert isinstance(stats, dict)
    return stats["streams"]


def cancelled(server: Served) -> float:
    name = 'kproxy_requests_total{route="/v1/chat/completions",status="cancelled"}'
    return server.metrics().get(name, 0)


def all_gone(server: Served, sim: Simulated, hangups: int) -> None:
    """As many hang-ups as callers left, no answer being played, no slot or socket held."""
    until(lambda: sim.hangups() == hangups, f"{hangups} hang-ups")
    until(lambda: playing(sim) == 0, "no answer being played")
    until(server.at_rest)
    with server.caller() as caller:
        assert caller.ask(model="acme/gpt-4.1").status == 200


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_before_the_first_byte(server: Served, sim: Simulated, stream: bool) -> None:
    before = cancelled(server)
    for number in range(TIMES):
        with server.caller() as caller:
            ask(caller, **SILENT, stream=stream)
            until(lambda: playing(sim) == 1, "the provider has the request")
        until(lambda wanted=number + 1: sim.hangups() == wanted, "the provider is told")
    all_gone(server, sim, TIMES)
    assert cancelled(server) == before + TIMES


def test_in_the_middle_of_a_stream(server: Served, sim: Simulated) -> None:
    for number in range(TIMES):
        with server.caller() as caller:
            ask(caller, **STREAMING)
            assert caller.socket.recv(1) == b"H"
        until(lambda wanted=number + 1: sim.hangups() == wanted, "the provider is told")
    all_gone(server, sim, TIMES)


def test_many_at_once(server: Served, sim: Simulated) -> None:
    callers = [server.caller() for _ in range(TIMES)]
    for number, caller in enumerate(callers):
        ask(caller, **(STREAMING if number % 2 else SILENT))
    until(lambda: playing(sim) == TIMES, "the provider has the requests")
    for caller in callers:
        caller.close()
    all_gone(server, sim, TIMES)


def test_with_a_reset(server: Served, sim: Simulated) -> None:
    caller = server.caller()
    ask(caller, **STREAMING)
    assert caller.socket.recv(1) == b"H"
    caller.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    caller.close()
    all_gone(server, sim, 1)


def test_the_sending_side_alone(server: Served, sim: Simulated) -> None:
    """A caller that ends only its sending side counts as gone: a generating model costs money."""
    with server.caller() as caller:
        ask(caller, **STREAMING)
        assert caller.socket.recv(1) == b"H"
        caller.socket.shutdown(socket.SHUT_WR)
        all_gone(server, sim, 1)


def test_behind_a_pipelined_request(server: Served, sim: Simulated) -> None:
    """Unread bytes of a next request do not hide the hang-up."""
    with server.caller() as caller:
        ask(caller, **SILENT)
        until(lambda: playing(sim) == 1, "the provider has the request")
        ask(caller, **SILENT)
    all_gone(server, sim, 1)


def test_in_the_middle_of_a_request_body(server: Served, sim: Simulated) -> None:
    for _ in range(TIMES):
        with server.caller() as caller:
            caller.send(
                request("POST", "/v1/chat/completions", caller.authorization, "content-length: 100")
            )
            caller.send(b'{"model"')
    all_gone(server, sim, 0)


def test_while_the_second_candidate_is_asked(
    sim: Simulated, tmp_path_factory: pytest.TempPathFactory
) -> None:
    providers = provider_config(acme=sim.base_url, good=sim.base_url)
    with serving(tmp_path_factory.mktemp("two"), providers) as server:
        with server.caller() as caller:
            models = ["acme/gpt-4.1!500", "good/gpt-4.1!silence"]
            ask(caller, stream=True, x_kairosroute={"models": models})
            until(lambda: playing(sim) == 1, "the second has the request")
        until(lambda: sim.hangups() == 1, "the provider is told")
        until(server.at_rest)
        ended = {
            name: value
            for name, value in server.metrics().items()
            if name.startswith("kproxy_attempts_total")
        }
    assert ended == {
        'kproxy_attempts_total{ending="fault",model="other",provider="acme"}': 1,
        'kproxy_attempts_total{ending="cancelled",model="other",provider="good"}': 1,
    }


def test_the_openai_client_closes_a_stream(server: Served, sim: Simulated) -> None:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0) as client:
        stream = client.chat.completions.create(
            messages=[{"role": "user", "content": "Hello!"}], **STREAMING
        )
        with stream:
            assert next(iter(stream)).choices[0].delta.role == "assistant"
        all_gone(server, sim, 1)

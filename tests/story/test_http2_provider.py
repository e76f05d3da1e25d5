"""HTTP/2 to a provider, from outside: official client, kproxy, TLS with HTTP/2, kproxy, simulator.

The provider is a second `kproxy serve`, whose TLS listener offers HTTP/2 by ALPN.
"""

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme
from openai import OpenAI

from tests.fakes.caller import chat
from tests.fakes.h2_socket import H2Socket
from tests.fakes.server import (
    Served,
    Simulated,
    provider_config,
    served,
    serving,
    simulating,
    until,
)
from tests.fakes.tls import write_files

pytestmark = pytest.mark.loopback

TLS = """\
listen = ["127.0.0.1:0"]
[[listeners]]
address = "127.0.0.1:0"
[listeners.tls]
certificate = "cert.pem"
key = "key.pem"
"""
RACERS = "".join(
    f'[[models]]\nid = "racer"\nprovider = "{slug}"\nupstream = "acme/m{fault}"\n'
    "price = { input = 1, output = 2 }\n"
    for slug, fault in (("back", ""), ("idler", "!silence"))
)
CHAT = "/v1/chat/completions"
HELLO: list[Any] = [{"role": "user", "content": "Hello!"}]


class Line(NamedTuple):
    """A caller's side to the provider's: each speaks to the next."""

    front: Served
    back: Served
    sim: Simulated

    def shared(self, slug: str = "back") -> float:
        """Connections of HTTP/2 between the two."""
        return self.front.metrics()[connections("shared", slug)]

    def idle(self) -> float:
        return self.front.metrics()[connections("idle")]

    def playing(self) -> int:
        stats = self.sim.ask("/sim/stats")
        assert isinstance(stats, dict)
        return stats["streams"]


def connections(state: str, slug: str = "back") -> str:
    return f'kproxy_upstream_connections{{provider="{slug}",state="{state}"}}'


@contextmanager
def behind(folder: Path, sim: Simulated) -> Iterator[tuple[Served, Served]]:
    """A kproxy, and its provider by HTTP/2, which is one, too. The provider may be killed."""
    authority = trustme.CA()
    (folder / "back").mkdir()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    write_files(folder / "back", authority)
    back = served(folder / "back", TLS + provider_config(acme=sim.base_url))
    try:
        port = re.search(r"https://127\.0\.0\.1:(\d+)", back.said)
        assert port is not None
        own = f'api_key = "{back.key}"\nhttp2 = true\n'
        url = f"https://localhost:{port[1]}/v1"
        provider = provider_config(back=url) + own + provider_config(idler=url) + own + RACERS
        environ = {"SSL_CERT_FILE": str(folder / "ca.pem")}
        with serving(folder / "front", provider, **environ) as front:
            yield front, back
    finally:
        back.process.stop()
    assert back.process.complaints == ""


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    folder = tmp_path_factory.mktemp("line")
    with simulating(folder / "sim") as sim, behind(folder, sim) as (front, back):
        yield Line(front, back, sim)


@pytest.fixture(autouse=True)
def counted_from_zero(line: Line) -> None:
    line.sim.forget()


def test_an_official_client(line: Line) -> None:
    with OpenAI(base_url=f"{line.front.url}/v1", api_key=line.front.key, max_retries=0) as client:
        whole = client.chat.completions.create(model="back/acme/gpt-4.1", messages=HELLO)
        assert whole.choices[0].message.content
        with client.chat.completions.create(
            model="back/acme/gpt-4.1", messages=HELLO, stream=True
        ) as stream:
            chunks = [one.choices[0] for one in stream if one.choices]
        assert "".join(one.delta.content or "" for one in chunks)
        assert chunks[-1].finish_reason == "stop"
    assert (line.shared(), line.idle()) == (1, 0)


def test_a_large_request_and_a_large_answer(line: Line) -> None:
    """Larger than every window on the way."""
    words = "many words " * 100_000
    with line.front.caller() as caller:
        answer = caller.ask(
            model="back/acme/gpt-4.1!tokens=100000!pace=1,0",
            messages=[{"role": "user", "content": words}],
        )
    assert answer.status == 200
    assert len(answer.body) > 400_000


def test_many_requests_at_once_share_a_connection(line: Line) -> None:
    with H2Socket(line.front.address, line.front.key) as caller:
        ask = chat(model="back/acme/gpt-4.1!tokens=1000!pace=1,50", stream=True)
        streams = [caller.ask(CHAT, ask) for _ in range(20)]
        for stream in streams:
            caller.hear(stream)
        assert (line.playing(), line.shared()) == (20, 1)
        for stream in streams[1:]:
            caller.reset(stream)
        until(lambda: line.sim.hangups() == 19, "RST_STREAM reaches the simulator")
        heard = caller.hear(streams[0])
        assert len(caller.hear(streams[0], len(heard) + 1)) > len(heard), "the other one goes on"
        assert line.shared() == 1
    until(lambda: line.playing() == 0)
    until(line.front.at_rest)
    assert line.shared() == 1


def test_a_race_takes_back_what_it_does_not_want(line: Line) -> None:
    """The loser never says a word; each time its stream is reset, and its connection stays."""
    race = {"strategy": "race"}
    with line.front.caller() as caller:
        for number in range(1, 21):
            answer = caller.ask(model="racer", stream=number % 2 == 0, x_kairosroute=race)
            assert answer.status == 200
            until(lambda wanted=number: line.sim.hangups() == wanted, "the provider is told")
    until(lambda: line.playing() == 0)
    until(line.front.at_rest)
    until(line.back.at_rest)
    assert (line.shared(), line.shared("idler")) == (1, 1)


def test_a_slow_caller_holds_up_its_stream_alone(line: Line) -> None:
    with H2Socket(line.front.address, line.front.key, window=1_000) as caller:
        flood = chat(model="back/acme/gpt-4.1!tokens=30000!pace=1,0", stream=True)
        stuck = caller.ask(CHAT, flood)
        caller.stuff(stuck, 1_000)
        with line.front.caller() as other:
            assert other.ask(model="back/acme/gpt-4.1").status == 200
        assert (line.playing(), line.shared()) == (1, 1), "the provider is not done"
        caller.open_window(stuck, 2**24)
        assert caller.whole(stuck).endswith(b"data: [DONE]\n\n")
    until(line.front.at_rest)


def test_a_provider_that_dies_in_mid_stream(tmp_path: Path, line: Line) -> None:
    """Its callers are told; nothing ends as if it were whole, and the next request is refused."""
    with behind(tmp_path, line.sim) as (front, back):
        with H2Socket(front.address, front.key) as caller:
            ask = chat(model="back/acme/gpt-4.1!tokens=1000!pace=1,50", stream=True)
            streams = [caller.ask(CHAT, ask) for _ in range(3)]
            for stream in streams:
                caller.hear(stream)
            back.process.signal(signal.SIGKILL)
            ends = [caller.whole(stream) for stream in streams]
        assert all(b'"error"' in end and b"[DONE]" not in end for end in ends)
        until(front.at_rest)
        with front.caller() as caller:
            assert caller.ask(model="back/acme/gpt-4.1").status == 503

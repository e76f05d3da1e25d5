"""Fetching over real sockets: what is reached, what is not, and how much of it is taken."""

import gzip
import socket
import threading

import pytest
import trio

from kproxy.transport.fetch import (
    Ask,
    Budget,
    Fetcher,
    SystemResolver,
    Unfetched,
    dialler_on_demand,
)
from tests.fakes.address_forms import INSIDE
from tests.fakes.fetching import fetching
from tests.fakes.hubbed import hubbed, until
from tests.fakes.web import HANG, answer, redirect, web

pytestmark = pytest.mark.loopback

BUDGET = Budget(10_000, 30.0)
HERE = "93.184.216.34"
THERE = "2606:4700:4700::1111"


async def unfetched(fetcher, url, budget=BUDGET):
    with pytest.raises(Unfetched) as caught:
        await fetcher.fetch(url, budget)
    return caught.value.reason


async def test_a_page_is_fetched_from_the_address_that_was_judged():
    async with fetching() as (fetcher, internet), web() as server:
        internet.has("files.example", HERE, server.port)
        server.says("/a%20b", answer(b"text", kind="Text/HTML; charset=x"))
        got = await fetcher.fetch("http://files.example/a b?q=1#part", BUDGET)
        assert (got.status, got.content_type, got.body) == (200, "text/html", b"text")
        assert [(origin.host, origin.known_as) for origin in internet.dialled] == [
            (HERE, "files.example")
        ]
        (asked,) = server.asked
        assert (asked.method, asked.query) == ("GET", "q=1")
        assert asked.fields["host"] == "files.example"
        assert not {"authorization", "cookie", "x-api-key"} & asked.fields.keys()


async def test_a_status_is_the_callers_to_judge():
    async with fetching() as (fetcher, internet), web() as server:
        internet.has("files.example", HERE, server.port)
        assert (await fetcher.fetch("http://files.example/", BUDGET)).status == 404


async def test_no_form_of_an_inside_address_makes_a_connection():
    """The real dialler and the real resolver; whoever comes is counted."""
    async with hubbed() as (hub, _), web() as server:
        fetcher = Fetcher(dialler_on_demand(hub), ports=frozenset((80, 443, server.port)))
        hosts = [host for host in INSIDE if "\n" not in host]
        for host in hosts:
            for url in (f"http://{host}:{server.port}/", f"http://{host}/"):
                await unfetched(fetcher, url)
        assert len(hosts) > 300
        assert server.connections == 0
        server.says("/", answer(b"here"))
        got = await fetcher.call(f"{server.url}/", BUDGET, configured=server.url)
        assert (got.body, server.connections) == (b"here", 1)


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"], ["::1"], ["10.0.0.7"], [HERE, "127.0.0.1"], ["127.0.0.1", HERE],
        ["169.254.169.254"], ["::ffff:127.0.0.1"], ["64:ff9b::7f00:1"], ["fe80::1%lo"], ["0.0.0.0"],
        [],
    ],
)  # fmt: skip
async def test_a_name_with_a_private_address_is_not_connected_to(addresses):
    async with fetching() as (fetcher, internet), web() as server:
        internet.names["rebound.example"] = [addresses]
        for address in (*addresses, HERE):
            internet.hosts[address, 80] = server.port
        await unfetched(fetcher, "http://rebound.example/")
        assert (internet.dialled, server.connections) == ([], 0)


async def test_a_name_that_changes_after_it_was_judged_changes_nothing():
    async with fetching() as (fetcher, internet), web() as server:
        internet.hosts[HERE, 80] = server.port
        internet.names["rebound.example"] = [[HERE], ["127.0.0.1"]]
        server.says("/", answer(b"outside"))
        assert (await fetcher.fetch("http://rebound.example/", BUDGET)).body == b"outside"
        assert internet.looked_up == ["rebound.example"]
        assert await unfetched(fetcher, "http://rebound.example/")
        assert [origin.host for origin in internet.dialled] == [HERE]


async def test_a_name_that_nobody_knows():
    async with fetching() as (fetcher, _):
        assert await unfetched(fetcher, "http://nobody.example/") == "the host's name is not known"


async def test_the_next_address_where_one_does_not_answer():
    async with fetching() as (fetcher, internet), web() as server:
        internet.names["files.example"] = [[THERE, HERE]]
        internet.hosts[HERE, 80] = server.port
        server.says("/", answer(b"second"))
        assert (await fetcher.fetch("http://files.example/", BUDGET)).body == b"second"
        internet.hosts.clear()
        assert "unreachable" in await unfetched(fetcher, "http://files.example/")
        assert [origin.host for origin in internet.dialled] == [THERE, HERE] * 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_followed_and_judged_anew(status):
    async with fetching() as (fetcher, internet), web() as server:
        internet.has("a.example", HERE, server.port)
        internet.has("b.example", THERE, server.port)
        server.says("/1", redirect("http://b.example/x/2", status=status))
        server.says("/x/2", redirect("3?q", status=status))
        server.says("/x/3", answer(b"there"))
        assert (await fetcher.fetch("http://a.example/1", BUDGET)).body == b"there"
        assert [origin.known_as for origin in internet.dialled] == [
            "a.example", "b.example", "b.example",
        ]  # fmt: skip


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:{port}/in", "//127.0.0.1:{port}/in", "http://[::1]:{port}/in",
        "http://2130706433:{port}/in", "http://localhost:{port}/in", "http://in.example/in",
        "http://a.example:{port}/in", "file:///etc/passwd", "http://u:p@a.example/in", "gopher://x",
        "http://[::ffff:127.0.0.1]/in", "\\\\127.0.0.1\\in", "http://a.example\\@127.0.0.1/in",
    ],
)  # fmt: skip
async def test_a_redirect_inside_is_not_followed(location):
    async with fetching() as (fetcher, internet), web() as server:
        internet.has("a.example", HERE, server.port)
        internet.names["in.example"] = [["127.0.0.1"]]
        server.says("/in", answer(b"inside"))
        server.says("/", redirect(location.format(port=server.port)))
        await unfetched(fetcher, "http://a.example/")
        assert server.connections == 1


async def test_redirects_end():
    async with fetching() as (fetcher, internet), web() as server:
        internet.has("a.example", HERE, server.port)
        server.says("/", redirect("/"))
        reason = await unfetched(fetcher, "http://a.example/", Budget(100, 30.0, redirects=2))
        assert (reason, server.connections) == ("redirected too often", 3)


async def test_a_redirect_without_a_place_is_an_answer():
    async with fetching() as (fetcher, internet), web() as server:
        internet.has("a.example", HERE, server.port)
        server.says("/", answer(b"", status=302))
        assert (await fetcher.fetch("http://a.example/", BUDGET)).status == 302


@pytest.mark.parametrize("how", ["length", "chunked", "until the end", "gzip"])
@pytest.mark.parametrize("more", [0, 1])
async def test_at_the_limit_and_one_more(how, more):
    body = b"x" * (1_000 + more)
    said = {
        "length": answer(body),
        "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
        % (len(body), body),
        "until the end": b"HTTP/1.1 200 OK\r\n\r\n" + body,
        "gzip": answer(gzip.compress(body), fields=("Content-Encoding: gzip",)),
    }[how]
    async with fetching() as (fetcher, internet), web() as server:
        internet.has("a.example", HERE, server.port)
        server.says("/", said)
        if more:
            assert "over the limit" in await unfetched(
                fetcher, "http://a.example/", Budget(1_000, 30.0)
            )
        else:
            got = await fetcher.fetch("http://a.example/", Budget(1_000, 30.0))
            assert got.body == body


async def test_a_body_without_end_is_left_at_the_limit():
    async with fetching() as (fetcher, internet), web() as server:
        internet.has("a.example", HERE, server.port)
        server.says("/", b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 10_001, HANG)
        assert await unfetched(fetcher, "http://a.example/") == "over the limit"
        await server.left.wait()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"", "ended before its head"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "ended|malformed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", "ended 2 bytes early"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "framing"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 40_000, "too large"),
        (answer(b"x", fields=("Content-Encoding: br",)), "not asked for"),
        (answer(b"xyz", fields=("Content-Encoding: gzip",)), "broken"),
        (answer(gzip.compress(b"x")[:-3], fields=("Content-Encoding: gzip",)), "cut"),
        (answer(gzip.compress(bytes(9_000_000)), fields=("Content-Encoding: gzip",)), "beyond"),
    ],
)
async def test_what_is_no_good_answer(said, reason):
    async with fetching() as (fetcher, internet), web() as server:
        internet.has("a.example", HERE, server.port)
        server.says("/", said)
        with pytest.raises(Unfetched, match=reason):
            await fetcher.fetch("http://a.example/", Budget(20_000_000, 30.0))


async def test_a_connection_that_breaks():
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")

    async def reset(stream):
        await stream.receive_some()
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await stream.aclose()

    async with fetching() as (fetcher, internet), trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, reset, [listener])
        internet.has("a.example", HERE, listener.socket.getsockname()[1])
        assert await unfetched(fetcher, "http://a.example/") == "the connection broke"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("script", [(HANG,), (b"HTTP/1.1 200 OK\r\n\r\nx", HANG)])
async def test_silence_ends_with_the_time(script):
    async with fetching() as (fetcher, internet), web() as server:
        internet.has("a.example", HERE, server.port)
        server.says("/", *script)
        reason = await unfetched(fetcher, "http://a.example/", Budget(100, 0.2))
        assert reason == "took too long"


async def test_the_configured_origin_is_allowed_as_it_is_and_alone_sees_the_headers():
    secret = Ask(headers=((b"x-subscription-token", b"secret"),))
    async with fetching() as (fetcher, internet), web() as server, web() as other:
        internet.has("b.example", HERE, other.port)
        server.says("/1", redirect("/2"))
        server.says("/2", redirect("http://b.example/3"))
        other.says("/3", answer(b"elsewhere"))
        got = await fetcher.call(f"{server.url}/1", BUDGET, secret, configured=server.url)
        assert got.body == b"elsewhere"
        seen = ["x-subscription-token" in asked.fields for asked in (*server.asked, *other.asked)]
        assert seen == [True, True, False]


async def test_a_redirect_of_the_configured_origin_to_another_private_one_is_refused():
    async with fetching() as (fetcher, _), web() as server, web() as other:
        server.says("/", redirect(f"{other.url}/in"))
        with pytest.raises(Unfetched):
            await fetcher.call(f"{server.url}/", BUDGET, configured=server.url)
        with pytest.raises(Unfetched):
            await fetcher.call(f"{other.url}/", BUDGET, configured=server.url)
        assert other.connections == 0


async def test_whoever_is_redirected_to_cannot_lead_back_inside():
    secret = Ask(headers=((b"x-subscription-token", b"secret"),))
    async with fetching() as (fetcher, internet), web() as server, web() as other:
        internet.has("b.example", HERE, other.port)
        server.says("/1", redirect("http://b.example/2"))
        other.says("/2", redirect(f"{server.url}/private?x=1"))
        with pytest.raises(Unfetched):
            await fetcher.call(f"{server.url}/1", BUDGET, secret, configured=server.url)
        with pytest.raises(Unfetched):
            await fetcher.call("http://b.example/2", BUDGET, secret, configured=server.url)
        assert [asked.path for asked in server.asked] == ["/1"]


async def test_what_is_posted_goes_to_the_configured_origin_and_no_further():
    ask = Ask(b"POST", ((b"content-type", b"application/json"),), b"{}")
    async with fetching() as (fetcher, internet), web() as server, web() as other:
        internet.has("b.example", HERE, other.port)
        server.says("/", answer(b"done"))
        server.says("/moved", redirect("/", status=307))
        got = await fetcher.call(f"{server.url}/", BUDGET, ask, configured=server.url)
        assert (got.body, server.asked[0].method, server.asked[0].body) == (b"done", "POST", b"{}")
        with pytest.raises(Unfetched, match="redirected"):
            await fetcher.call(f"{server.url}/moved", BUDGET, ask, configured=server.url)
        with pytest.raises(Unfetched, match="leaves"):
            await fetcher.call("http://b.example/", BUDGET, ask, configured=server.url)
        assert other.connections == 0


async def test_what_is_configured_must_be_an_address():
    async with fetching() as (fetcher, _):
        with pytest.raises(Unfetched, match="configured"):
            await fetcher.call("http://a.example/", BUDGET, configured="nonsense")


def test_nothing_of_a_call_shows_in_print():
    ask = Ask(headers=((b"authorization", b"Bearer secret"),), body=b"secret")
    assert "secret" not in repr(ask)


async def test_names_that_nobody_answers_for_take_no_more_threads_than_theirs(monkeypatch):
    held = threading.Event()
    asked = []

    def silent(name, port, **_):
        asked.append(name)
        held.wait()
        return []

    resolver = SystemResolver(threads=2)
    monkeypatch.setattr(socket, "getaddrinfo", silent)
    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(resolver, f"{number}.example", 80)
        await until(lambda: len(asked) == 2)
        await trio.to_thread.run_sync(threading.Event().set)  # others have theirs
        nursery.cancel_scope.cancel()
    held.set()
    assert len(asked) == 2

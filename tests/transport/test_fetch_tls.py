"""Fetching over TLS: the certificate must be of the name, although an address is dialled."""

import ssl

import pytest
import trio
import trustme

from kproxy.transport import fetch
from kproxy.transport.dial import tls_context
from kproxy.transport.fetch import Budget, Unfetched
from tests.fakes.fetching import fetching
from tests.fakes.web import answer, read_request

pytestmark = pytest.mark.loopback

BUDGET = Budget(10_000, 30.0)
ADDRESS = "93.184.216.34"


@pytest.mark.parametrize("named", ["files.example", "other.example", ADDRESS])
async def test_the_name_is_what_the_certificate_must_prove(monkeypatch, named):
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(named).configure_cert(context)
    made = []

    def trusting():
        made.append(tls_context())
        authority.configure_trust(made[-1])
        return made[-1]

    async def serve(stream):
        secure = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        try:
            await read_request(secure)
            await secure.send_all(answer(b"secret text"))
        except trio.BrokenResourceError:
            pass  # the client did not like the certificate
        finally:
            await trio.aclose_forcefully(secure)

    monkeypatch.setattr(fetch, "tls_context", trusting)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with fetching() as (fetcher, internet), trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        internet.has("files.example", ADDRESS, listener.socket.getsockname()[1], at=443)
        for _ in range(2):
            if named == "files.example":
                got = await fetcher.fetch("https://files.example/", BUDGET)
                assert got.body == b"secret text"
            else:
                with pytest.raises(Unfetched, match="certificate refused"):
                    await fetcher.fetch("https://files.example/", BUDGET)
        assert len(made) == 1
        nursery.cancel_scope.cancel()

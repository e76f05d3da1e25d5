"""Search engines in their documented shapes, on real sockets."""

from urllib.parse import parse_qs

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.admission.keys import Secret
from kproxy.plugins.params import SearchParams
from kproxy.plugins.source import PluginFailed, Source
from kproxy.plugins.web_search import question, search
from tests.fakes.fetching import fetching
from tests.fakes.searches import BRAVE_ERROR, TAVILY_ERROR, brave, searxng, tavily
from tests.fakes.web import HANG, answer, data, redirect, web

RESULTS = [
    ("The first", "https://a.example/1", "What it <b>says</b>."),
    ("No address", "javascript:alert(1)", "x"),
    ("No text", "https://b.example/2", ""),
    ("The first again", "https://a.example/1", "twice"),
    ("", "https://c.example/3", "No title."),
    ("The last", "https://d.example/4", "Too many."),
]
FOUND = [
    Source("The first", "https://a.example/1", "What it says."),
    Source("https://c.example/3", "https://c.example/3", "No title."),
]
SHAPES = {"searxng": searxng, "brave": brave, "tavily": tavily}
PATHS = {"searxng": "/search", "brave": "/res/v1/web/search", "tavily": "/search"}
BACKENDS = pytest.mark.parametrize("backend", SHAPES)
KEY = Secret("secret-key")


def params(backend, server, **given):
    return SearchParams(backend=backend, base_url=server.url, api_key=KEY, count=2, **given)


async def failure(fetcher, given):
    with pytest.raises(PluginFailed) as caught:
        await search(fetcher, given, "what")
    assert "secret" not in caught.value.reason
    return caught.value.reason


@pytest.mark.loopback
@BACKENDS
async def test_what_an_engine_found(backend):
    async with fetching() as (fetcher, _), web() as server:
        server.says(PATHS[backend], data(SHAPES[backend](RESULTS)))
        assert await search(fetcher, params(backend, server), "what is it & why?") == FOUND
        (asked,) = server.asked
        if backend == "tavily":
            assert asked.method == "POST"
            assert asked.json() == {
                "query": "what is it & why?", "max_results": 2, "search_depth": "basic",
            }  # fmt: skip
        else:
            assert asked.method == "GET"
            assert parse_qs(asked.query)["q"] == ["what is it & why?"]
        header = "x-subscription-token" if backend == "brave" else "authorization"
        assert asked.fields[header].removeprefix("Bearer ") == "secret-key"
        assert asked.fields["accept"] == "application/json"


@pytest.mark.loopback
@BACKENDS
async def test_a_wrong_result_does_not_take_the_others_with_it(backend):
    async with fetching() as (fetcher, _), web() as server:
        body = SHAPES[backend](RESULTS)
        results = (body["web"] if backend == "brave" else body)["results"]
        results[:0] = [None, 7, "text", ["x"], {"title": 1, "url": 2, "content": 3}]
        server.says(PATHS[backend], data(body))
        assert await search(fetcher, params(backend, server), "what is it?") == FOUND


@pytest.mark.loopback
async def test_each_engine_is_asked_in_its_way():
    async with fetching() as (fetcher, _), web() as server:
        server.says("/base/search", data(searxng([])))
        plain = SearchParams(backend="searxng", base_url=f"{server.url}/base")
        assert await search(fetcher, plain, "x") == []
        assert parse_qs(server.asked[0].query) == {"q": ["x"], "format": ["json"]}
        assert "authorization" not in server.asked[0].fields
        server.says("/res/v1/web/search", data({"type": "search"}))
        assert await search(fetcher, params("brave", server), "x") == []
        assert parse_qs(server.asked[1].query) == {
            "q": ["x"], "count": ["2"], "text_decorations": ["false"],
        }  # fmt: skip


@pytest.mark.loopback
async def test_braves_further_snippets_are_read():
    found = brave([("T", "https://a.example/", "One.")])
    found["web"]["results"][0]["extra_snippets"] = ["Two.", 3, "Four."]
    async with fetching() as (fetcher, _), web() as server:
        server.says(PATHS["brave"], data(found))
        (source,) = await search(fetcher, params("brave", server), "x")
        assert source.text == "One. Two. Four."


@pytest.mark.loopback
@BACKENDS
@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (data(TAVILY_ERROR, status=401), "key"),
        (answer(b"forbidden", status=403), "key"),  # SearXNG without the json format
        (data(BRAVE_ERROR, status=422), "422"),
        (answer(b"", status=429), "enough"),
        (data(TAVILY_ERROR, status=432), "enough"),
        (answer(b"secret trace", status=500), "500"),
        (answer(b"<html>", kind="text/html"), "something else"),
        (data([]), "something else"),
        (data({"results": {}, "web": []}), "something else"),
        (answer(b"x" * 10_001), "over the limit"),
        (answer(b"x" * 5, fields=("Transfer-Encoding: chunked",)), "framing"),
        (b"", "ended"),
    ],
)
async def test_what_an_engine_says_instead(backend, said, reason):
    async with fetching() as (fetcher, _), web() as server:
        server.says(PATHS[backend], said)
        assert reason in await failure(fetcher, params(backend, server, size=10_000))


@pytest.mark.loopback
@BACKENDS
async def test_a_slow_engine(backend):
    async with fetching() as (fetcher, _), web() as server:
        server.says(PATHS[backend], b"HTTP/1.1 200 OK\r\n\r\n{", HANG)
        reason = await failure(fetcher, params(backend, server, seconds=0.2))
        assert reason == f"{backend}: took too long"


@pytest.mark.loopback
@BACKENDS
async def test_an_engine_that_leads_to_a_private_address(backend):
    async with fetching() as (fetcher, _), web() as server, web() as inside:
        server.says(PATHS[backend], redirect(f"{inside.url}/admin"))
        await failure(fetcher, params(backend, server))
        assert inside.connections == 0


async def test_without_a_question_nobody_is_asked():
    nobody = SearchParams(backend="searxng", base_url="http://a.example")
    with pytest.raises(PluginFailed, match="nothing to search for"):
        await search(None, nobody, "")


def test_a_key_does_not_show():
    made = SearchParams(backend="brave", base_url="http://a.example", api_key=KEY)
    assert "secret" not in repr(made)
    assert msgspec.structs.asdict(made)["count"] == 5


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        (" What is\nHTTP/3? ", "What is HTTP/3?"),
        ("", ""),
        ("\x00", ""),
        ("a " * 60 + "end", "a " * 49 + "end"),
        ("x" * 500, "x" * 400),
        ("y" * 300 + " " + "z" * 200, "z" * 200),
    ],
)
def test_a_message_becomes_a_question(text, asked):
    assert question(text) == asked


@given(st.text())
def test_a_question_is_never_longer_than_engines_take(text):
    asked = question(text)
    assert len(asked) <= 400
    assert len(asked.split()) <= 50

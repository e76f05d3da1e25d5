"""A question in, what a search engine found for it out, as `Source` values.

Three engines, each an adapter of a request and a reader of its answer: SearXNG (an operator's own;
it must list `json` under `search.formats`, else it answers 403), Brave and Tavily. Their answers
are read leniently, hit by hit: one without an address that can be cited is left out. No page is
fetched: the snippets are what the engines offer for this, and a page costs seconds.
"""

from urllib.parse import urlencode

import msgspec

from kproxy.plugins.params import Backend, SearchParams
from kproxy.plugins.source import PluginFailed, Source, check_status, decode, plain, web_url
from kproxy.transport.fetch import Ask, Budget, Fetcher, Unfetched

__all__ = ["question", "search"]

_TITLE = 200  # characters
_LOOKED_AT = 100  # results
_QUESTION = 400  # characters, and
_WORDS = 50  # words: the most that Brave takes, and Tavily advises no more


class _Hit(msgspec.Struct):
    """One result of any of the three; what one of them lacks stays at its default."""

    title: object = None
    url: object = None
    content: object = None  # SearXNG, Tavily
    description: object = None  # Brave
    extra_snippets: object = None  # Brave


class _Hits(msgspec.Struct):
    results: list[object]


class _Brave(msgspec.Struct):
    web: _Hits | None = None  # absent where the web has nothing


_HITS = msgspec.json.Decoder(_Hits)
_BRAVE = msgspec.json.Decoder(_Brave)


def question(text: str) -> str:
    """A caller's message as a query: one line, as long as every engine takes. May be empty.

    Of a long message the end counts: what is asked tends to stand behind what it is about.
    """
    words = plain(text[-8 * _QUESTION :], 8 * _QUESTION).split()[-_WORDS:]
    while sum(map(len, words)) + len(words) > _QUESTION + 1 and len(words) > 1:
        del words[0]
    return " ".join(words)[:_QUESTION]


async def search(fetcher: Fetcher, params: SearchParams, query: str) -> list[Source]:
    """What the engine found, best first, at most `params.count`. Raises PluginFailed."""
    if not query:
        raise PluginFailed("there is nothing to search for")
    url, ask = _request(params, query)
    budget = Budget(params.size, params.seconds)
    try:
        answer = await fetcher.call(url, budget, ask, configured=params.base_url)
    except Unfetched as error:
        raise PluginFailed(f"{params.backend}: {error.reason}") from error
    check_status(answer.status, params.backend)
    return _sources(_hits(params.backend, answer.body), params)


def _request(params: SearchParams, query: str) -> tuple[str, Ask]:
    key = "" if params.api_key is None else params.api_key.reveal()
    accept = (b"accept", b"application/json")
    bearer = ((b"authorization", f"Bearer {key}".encode("ascii")),) if key else ()
    if params.backend == "searxng":
        asked = urlencode({"q": query, "format": "json"})
        return f"{params.base_url}/search?{asked}", Ask(headers=(accept, *bearer))
    if params.backend == "brave":
        fields = {"q": query, "count": params.count, "text_decorations": "false"}
        token = (b"x-subscription-token", key.encode("ascii"))
        url = f"{params.base_url}/res/v1/web/search?{urlencode(fields)}"
        return url, Ask(headers=(accept, token))
    body = msgspec.json.encode(
        {"query": query, "max_results": params.count, "search_depth": "basic"}
    )
    headers = (accept, *bearer, (b"content-type", b"application/json"))
    return f"{params.base_url}/search", Ask(b"POST", headers, body)


def _hits(backend: Backend, body: bytes) -> list[_Hit]:
    """The first results; one that is no object is left out, and the others still count."""
    if backend == "brave":
        found = decode(_BRAVE, body, backend).web
    else:
        found = decode(_HITS, body, backend)
    results = [] if found is None else found.results[:_LOOKED_AT]
    return [msgspec.convert(one, _Hit) for one in results if isinstance(one, dict)]


def _sources(hits: list[_Hit], params: SearchParams) -> list[Source]:
    """The first hits that can be cited, each address once."""
    found: dict[str, Source] = {}
    for hit in hits:
        url = web_url(hit.url)
        text = _text(hit, params.text)
        if url and text and url not in found:
            found[url] = Source(plain(hit.title, _TITLE) or url, url, text)
        if len(found) == params.count:
            break
    return list(found.values())


def _text(hit: _Hit, limit: int) -> str:
    extra = hit.extra_snippets if isinstance(hit.extra_snippets, list) else []
    pieces = [piece for piece in (hit.content, hit.description, *extra) if isinstance(piece, str)]
    return plain(" ".join(pieces), limit)

"""A prompt in, books of Project Gutenberg and their passages about it out, as `Source` values.

The catalogue is Gutendex's API, at whatever address the operator has it; its search looks for words
in titles and names of authors, all of which must be there. So a prompt becomes a few queries, the
most telling first: what stands in quotation marks, runs of capitalised words, then the longest
words one by one; the first query that finds books decides.

A book's plain text comes from where the catalogue says it is, guarded like anything that is named
from outside, or from a configured mirror (Gutenberg asks robots to use one). The licence around the
text is cut between its START and END marks, and the rest is kept on a shelf.
"""

import codecs
import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar
from urllib.parse import urlencode

import msgspec
import trio

from kproxy.plugins.bookshelf import Bookshelf
from kproxy.plugins.params import GutenbergParams
from kproxy.plugins.passages import best_passages, terms
from kproxy.plugins.source import PluginFailed, Source, check_status, decode, plain
from kproxy.transport.fetch import Budget, Fetcher, Unfetched

__all__ = ["Book", "Library", "cut_licence", "queries"]

WHO = "gutendex"
HOME = "https://www.gutenberg.org"
MOST_QUERIES = 3
THREADS = 2  # that read in books at one time: a novel takes one for a tenth of a second
PIECE = 128 * 1024  # bytes: less than a millisecond of decoding

_QUOTED = re.compile(
    r"[\"\u201c\u201d\xab\xbb]([^\"\u201c\u201d\xab\xbb\n]{3,100})[\"\u201c\u201d\xab\xbb]"
    r"|(?<!\w)['\u2018]([^'\u2018\u2019\n]{3,100})['\u2019](?!\w)"
)
_WORD = re.compile(r"\w+(?:['\u2019]\w+)*")
_START = re.compile(r"\*{3} ?START OF TH(?:E|IS) PROJECT GUTENBERG EBOOK[^\n]*\n", re.I)
_END = re.compile(r"\*{3} ?END OF TH(?:E|IS) PROJECT GUTENBERG EBOOK", re.I)
_OLD_END = re.compile(r"End of (?:the |this )?Project Gutenberg")  # in a line of its own, before it
_TEXT = re.compile(r"text/plain(?:; ?charset=([A-Za-z0-9_-]{1,20}))?")
T = TypeVar("T")

_SMALL = frozenset(("of", "the", "and", "de", "von", "van", "la", "le", "du", "in", "to", "a"))


class Author(msgspec.Struct, frozen=True):
    """As Gutendex names one: `Austen, Jane`."""

    name: str


class Book(msgspec.Struct, frozen=True):
    """One book of the catalogue, as far as it is read. `formats` is media type to address."""

    id: int
    title: str
    authors: tuple[Author, ...] = ()
    formats: dict[str, str] = {}
    copyright: bool | None = None


class _Page(msgspec.Struct, frozen=True):
    results: list[Book]


_PAGE = msgspec.json.Decoder(_Page)


class Library:
    """Finds books and reads in them. Any number of tasks may use one at a time."""

    def __init__(self, fetcher: Fetcher, params: GutenbergParams) -> None:
        self._fetcher = fetcher
        self._params = params
        self._shelf = Bookshelf(params.cache, params.cache_size)
        self._threads = trio.CapacityLimiter(THREADS)

    async def find(self, prompt: str) -> list[Source]:
        """Passages for a prompt, each book one source; empty: no book fits. Raises PluginFailed.

        A book that cannot be had in time, or at all, is left out, unless none can.
        """
        found: list[Source] = []
        failed = PluginFailed("gutenberg: took too long")
        with trio.move_on_after(self._params.seconds):
            books = await self._search(prompt)
            if not books:
                return []
            for book in books:
                try:
                    found.append(await self._read(book, prompt))
                except PluginFailed as error:
                    failed = error
        if not found:
            raise failed
        return found

    async def _search(self, prompt: str) -> list[Book]:
        for words in queries(prompt):
            asked = urlencode({"search": words, "mime_type": "text/plain", "copyright": "false"})
            body = await self._get(f"{self._params.base_url}/books?{asked}", catalogue=True)
            books = [book for book in decode(_PAGE, body, WHO).results if _text_of(book)[1]]
            if books:
                return _closest(books, prompt)[: self._params.books]
        return []

    async def _read(self, book: Book, prompt: str) -> Source:
        """The passages of one book, from the shelf or from where it is."""
        name = f"pg{book.id}"
        text = await self._aside(partial(self._shelf.get, name))
        if text is None:
            charset, url = _text_of(book)
            if self._params.mirror and url.startswith(f"{HOME}/"):
                url = self._params.mirror + url.removeprefix(HOME)
            body = await self._get(url, catalogue=False)
            text = await self._aside(partial(_clean, body, charset))
            await self._aside(partial(self._shelf.put, name, text))
        count = self._params.passages
        passages = await self._aside(partial(best_passages, text, prompt, count))
        if not passages:
            raise PluginFailed("gutenberg: a book without text")
        return Source(_title(book), f"{HOME}/ebooks/{book.id}", "\n[…]\n".join(passages))

    async def _aside(self, work: Callable[[], T]) -> T:
        """Run what takes long in one of a few threads; whoever waits may leave."""
        return await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._threads)

    async def _get(self, url: str, *, catalogue: bool) -> bytes:
        params = self._params
        size = params.catalogue_size if catalogue else params.size
        own = params.mirror if params.mirror and not catalogue else params.base_url
        who = WHO if catalogue else "gutenberg"
        try:
            answer = await self._fetcher.call(url, Budget(size, params.seconds), configured=own)
        except Unfetched as error:
            raise PluginFailed(f"{who}: {error.reason}") from error
        check_status(answer.status, who)
        return answer.body


def queries(prompt: str) -> tuple[str, ...]:
    """What to ask the catalogue, most telling first; at most `MOST_QUERIES`, none where a prompt
    names nothing."""
    prompt = prompt[:4_000]
    asked = [a or b for a, b in _QUOTED.findall(prompt)]
    asked += sorted(_names(prompt), key=len, reverse=True)
    asked += sorted(dict.fromkeys(terms(prompt)), key=len, reverse=True)
    cleaned = (" ".join(_WORD.findall(one)[:8]).lower() for one in asked)
    return tuple(dict.fromkeys(one for one in cleaned if len(one) > 2))[:MOST_QUERIES]


def _names(prompt: str) -> Iterable[str]:
    """Runs of two or more capitalised words, small ones between them allowed."""
    run: list[str] = []
    for word in [*_WORD.findall(prompt), ""]:
        if (word[:1].isupper() and terms(word)) or (run and word in _SMALL):
            run.append(word)
        else:
            while run and run[-1] in _SMALL:
                run.pop()
            if len(run) > 1:
                yield " ".join(run)
            run = []


def _closest(books: list[Book], prompt: str) -> list[Book]:
    """Those first whose title and authors share most with the prompt; else by popularity, which is
    the order they come in."""
    wanted = set(terms(prompt))
    return sorted(books[:100], key=lambda book: -len(wanted & set(terms(_title(book)))))


def _title(book: Book) -> str:
    authors = "; ".join(author.name for author in book.authors[:3])
    return plain(f"{book.title} ({authors})" if authors else book.title, 200)


def _text_of(book: Book) -> tuple[str, str]:
    """Charset and address of the plain text; no address where there is none."""
    best = ("", "")
    for kind, url in book.formats.items():
        match = _TEXT.fullmatch(kind)
        if match and not url.endswith(".zip") and (not best[1] or match[1] == "utf-8"):
            best = (match[1] or "utf-8", url)
    return best


def _clean(body: bytes, charset: str) -> str:
    """The book, made piece by piece so as not to hold the interpreter; lines end in one way."""
    try:
        decoder = codecs.getincrementaldecoder(charset)("replace")
    except LookupError:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
    view = memoryview(body)
    pieces = (decoder.decode(view[at : at + PIECE]) for at in range(0, len(body), PIECE))
    return cut_licence("".join([piece.replace("\r", "") for piece in pieces]))


def cut_licence(text: str) -> str:
    """The book between the marks that Project Gutenberg puts around it; all of it without them."""
    start = _mark(text, "***", _START, 0)
    begin = start.end() if start else 0
    end = _mark(text, "***", _END, begin)
    stop = end.start() if end else len(text)
    old = _mark(text, "End of", _OLD_END, begin)
    return text[begin : min(stop, old.start()) if old else stop].strip("\ufeff \n")


def _mark(text: str, needle: str, mark: re.Pattern[str], begin: int) -> re.Match[str] | None:
    """The first mark at the beginning of a line. Its first letters are looked for by themselves:
    that is ten times as fast as the pattern, and the pattern would hold the interpreter."""
    at = text.find(needle, begin)
    while at >= 0:
        found = mark.match(text, at) if at == 0 or text[at - 1] == "\n" else None
        if found:
            return found
        at = text.find(needle, at + len(needle))
    return None

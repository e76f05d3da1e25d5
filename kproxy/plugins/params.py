"""What each plugin is built with: frozen values, and nothing that does any work.

The configuration makes them and the plugins take them. They stand apart so that whoever switches no
plugin on loads none of them.
"""

from pathlib import Path
from typing import Literal

import msgspec

from kproxy.admission.keys import Secret

__all__ = ["BASE_URLS", "Backend", "GutenbergParams", "ImageParams", "PdfParams", "SearchParams"]

Backend = Literal["searxng", "brave", "tavily"]

BASE_URLS = {"brave": "https://api.search.brave.com", "tavily": "https://api.tavily.com"}
"""Where the hosted ones are. A SearXNG is wherever its operator has put it."""


class SearchParams(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to ask, and how much may come of it."""

    backend: Backend
    base_url: str  # without a slash at its end
    api_key: Secret | None = None
    count: int = 5  # results, 1 to 20
    text: int = 1_000  # characters of each
    size: int = 512 * 1024  # bytes of an answer
    seconds: float = 8.0


class GutenbergParams(msgspec.Struct, frozen=True, kw_only=True):
    """Where the catalogue is, and how much may come of it."""

    base_url: str  # Gutendex; without a slash at its end
    cache: Path
    mirror: str | None = None  # stands in for https://www.gutenberg.org
    cache_size: int = 256 * 1024 * 1024  # bytes on the disk
    books: int = 2
    passages: int = 3  # of each book
    catalogue_size: int = 512 * 1024  # bytes of a catalogue's answer
    size: int = 8 * 1024 * 1024  # bytes of a book: the Bible has 4.5 MB
    seconds: float = 20.0  # for everything


class ImageParams(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to ask, for what, and how much may come of it."""

    base_url: str  # with its /v1; without a slash at its end
    api_key: Secret | None
    model: str
    options: tuple[tuple[str, str], ...] = ()  # `size`, `quality`, ...: sent as they are
    cost: int | None = None  # nano-dollars for one picture; None: not known
    size: int = 24 * 1024 * 1024  # bytes of an answer
    seconds: float = 120.0  # high quality takes a minute


class PdfParams(msgspec.Struct, frozen=True, kw_only=True):
    """How much reading one file may take."""

    size: int = 20 * 1024 * 1024  # bytes of the file
    pages: int = 200  # the rest is left out, and the text says so
    text: int = 400_000  # characters, likewise: some 100,000 tokens
    memory: int = 256 * 1024 * 1024  # bytes of the child's address space
    seconds: float = 20.0  # for fetching and reading
    children: int = 2  # at one time
    fetch: bool = True  # files that are named by an address

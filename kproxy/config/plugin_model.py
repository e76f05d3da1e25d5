"""The shape of the `[plugins.NAME]` tables that fetch and read, and every default with its reason.

A plugin that needs a service of somebody else's is off until its table is there: no provider that
nobody named. Sizes are bytes and times are seconds, as everywhere in the file.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from kproxy.admission.keys import Secret
from kproxy.plugins.layers import ALWAYS

__all__ = [
    "CodeExecConfig",
    "GutenbergConfig",
    "ImageGenConfig",
    "MemoryConfig",
    "PdfReaderConfig",
    "WebSearchConfig",
]

Few = Annotated[int, Meta(ge=1, le=20)]
Many = Annotated[int, Meta(ge=1, le=10_000_000)]
Bytes = Annotated[int, Meta(ge=1, le=1 << 30)]
Seconds = Annotated[float, Meta(gt=0, le=600)]


class WebSearchConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[plugins.web-search]`: whom to ask. After `load`, `base_url` is there."""

    backend: Literal["searxng", "brave", "tavily"]
    base_url: str | None = None  # None: the hosted one's own; a SearXNG has none
    api_key: Secret | None = None  # Brave and Tavily want one; a SearXNG may stand behind one
    count: Few = 5  # results; what fits on a screen is what is read
    characters: Many = 1_000  # of each result: a snippet, not a page
    bytes: Annotated[int, Meta(ge=1, le=1 << 20)] = 512 * 1024  # ten times a usual answer
    seconds: Seconds = 8.0  # before the model has begun; SearXNG waits 3 s for its engines


class GutenbergConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[plugins.gutenberg]`: the catalogue, the texts, and what is kept of them."""

    base_url: str = "https://gutendex.com"  # its author asks heavy users to run their own
    mirror: str | None = None  # instead of https://www.gutenberg.org, which asks robots to use one
    cache: str | None = None  # a directory; None: `gutenberg` in the data directory
    cache_bytes: Annotated[int, Meta(ge=1, le=1 << 40)] = 256 * 1024 * 1024  # some 500 novels
    books: Few = 2
    passages: Few = 3  # of each book
    book_bytes: Annotated[int, Meta(ge=1, le=16 << 20)] = 8 * 1024 * 1024  # the Bible has 4.5 MB
    seconds: Seconds = 20.0  # a first look into a book; from the shelf it takes a search


class ImageGenConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[plugins.image-gen]`: an images API of OpenAI's shape. What is None is not sent."""

    model: str
    base_url: str = "https://api.openai.com/v1"
    api_key: Secret | None = None
    size: str | None = None
    quality: str | None = None
    response_format: Literal["url", "b64_json"] | None = None  # dall-e's alone
    output_format: Literal["png", "jpeg", "webp"] | None = None  # the GPT models' alone
    price: int | float | None = None  # USD for one picture, as written; None: unknown, never 0
    bytes: Annotated[int, Meta(ge=1, le=32 << 20)] = 24 * 1024 * 1024  # a 4K picture in base64
    seconds: Seconds = 120.0  # high quality takes a minute


class PdfReaderConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[plugins.pdf-reader]`: how much one file may take. It needs no service, so it is on."""

    enabled: bool = True
    fetch: bool = True  # files that a caller names by an address, guarded
    bytes: Bytes = 20 * 1024 * 1024  # what fits into a request's body in base64, about
    pages: Annotated[int, Meta(ge=1, le=10_000)] = 200
    characters: Many = 400_000  # some 100,000 tokens: what models can take
    memory: Annotated[int, Meta(ge=128 << 20, le=8 << 30)] = 256 * 1024 * 1024  # of one child
    seconds: Seconds = 20.0
    children: Annotated[int, Meta(ge=1, le=64)] = 2  # at one time


class CodeExecConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[plugins.code-exec]`: foreign code in a sandbox (`plugins/sandbox.py`)."""

    enabled: bool | None = None  # None: where its extra is installed
    tier: Literal["monty", "python"] = "monty"  # "python" is the whole language, and needs `wasm`
    # Of one run. Models write code that computes; what takes longer is a mistake.
    seconds: Annotated[float, Meta(gt=0, le=300)] = 5.0
    memory_mb: Annotated[int, Meta(ge=32, le=4_096)] = 128
    output_kb: Annotated[int, Meta(ge=1, le=1_024)] = 64  # what a model can read at once
    require: tuple[str, ...] = ALWAYS  # kproxy does not start where one of these does not hold
    children: Annotated[int, Meta(ge=1, le=64)] = 2  # processes at once, 40 MB each
    wasm: str | None = None  # a file: CPython for WASI
    sha256: str | None = None  # of that file


class MemoryConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[plugins.memory]`: what is remembered of users. It needs no service, so it is on."""

    enabled: bool = True
    most: Annotated[int, Meta(ge=1, le=100_000)] = 200  # sentences of one user; the oldest go first
    recalled: Few = 8  # for one request
    bytes: Annotated[int, Meta(ge=256, le=1 << 16)] = 4_096  # of these: a page of text
    seconds: Seconds = 2.0  # a look-up takes milliseconds; behind a busy disk it is not waited for

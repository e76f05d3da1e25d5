"""The plugins' workers in, the same as what the frame knows out: finders, a reader, tools.

The workers know nothing of requests, and the frame nothing of searches, books, pictures, files and
sandboxes. Each is imported when it is first asked for: who asks for none pays for none.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

from kproxy.api.plugged import Asking, Finder, Found, Read, Reader, Result, Tool
from kproxy.dialect.context import file_text
from kproxy.plugins.params import GutenbergParams, ImageParams, PdfParams, SearchParams
from kproxy.plugins.source import PluginFailed

if TYPE_CHECKING:
    from kproxy.plugins.gutenberg import Library
    from kproxy.plugins.pdf_file import PdfFile
    from kproxy.plugins.pdf_reader import PdfReader
    from kproxy.transport.fetch import Fetcher

__all__ = [
    "MAKE_IMAGE",
    "Fetching",
    "code_plugin",
    "gutenberg_plugin",
    "image_plugin",
    "pdf_plugin",
    "search_plugin",
]

MAKE_IMAGE = "kairosroute_make_image"

MOST_TEXT = 65_536
"""Bytes of what one plugin finds for one request."""

MOST_FILES = 8
"""PDF files of one request."""

NAMED = 60
"""Characters of a file's name in an error."""

OWN = 1.0
"""Seconds beyond a worker's own deadline, so that it says itself what took too long."""

Members = dict[str, Raw]

Fetching = Callable[[], "Fetcher"]
"""The one fetcher, made when it is first asked for."""

_encode = msgspec.json.Encoder().encode
_decode_items = msgspec.json.Decoder(list[Raw]).decode
_decode_members = msgspec.json.Decoder(Members).decode


def search_plugin(fetching: Fetching, params: SearchParams) -> Finder:
    """`web-search`."""

    async def find(asking: Asking) -> Found:
        from kproxy.plugins.web_search import question, search

        return Found(await search(fetching(), params, question(asking.words)))

    return Finder(find, "Results of a web search", params.seconds + OWN, MOST_TEXT)


def gutenberg_plugin(fetching: Fetching, params: GutenbergParams) -> Finder:
    """`gutenberg`."""
    library: Library | None = None

    async def find(asking: Asking) -> Found:
        from kproxy.plugins.gutenberg import Library

        nonlocal library
        library = library or Library(fetching(), params)
        return Found(await library.find(asking.words))

    return Finder(find, "Passages of books of Project Gutenberg", params.seconds + OWN, MOST_TEXT)


class _Prompt(msgspec.Struct):
    prompt: str


def image_plugin(fetching: Fetching, params: ImageParams) -> Tool:
    """`image-gen`. An address stands in the text as Markdown, too; data would be read again by the
    model with every turn, so they are a part beside it alone."""

    async def call(arguments: str) -> Result:
        from kproxy.plugins.image_gen import make_image

        try:
            asked = msgspec.json.decode(arguments, type=_Prompt)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return Result('[error: the arguments must be a JSON object {"prompt": "..."}]')
        picture = await make_image(fetching(), params, asked.prompt)
        shown = "" if picture.url.startswith("data:") else f"![image]({picture.url})"
        image = Raw(_encode(picture.part()))
        return Result(picture.tool_result(), shown, image, charged=True)

    description = (
        "Makes a picture from a description and shows it to the user. "
        "Call it once for each picture that the user wants."
    )
    properties = {"prompt": {"type": "string", "description": "What the picture shows."}}
    definition = _definition(MAKE_IMAGE, description, properties)
    return Tool(MAKE_IMAGE, definition, call, params.seconds + OWN, size=8_192, price=params.cost)


def pdf_plugin(fetching: Fetching, params: PdfParams) -> Reader:
    """`pdf-reader`: every PDF of a message becomes a part of text."""
    reader: PdfReader | None = None

    async def read(messages: Raw, nonce: str) -> Read:
        from kproxy.plugins.pdf_reader import PdfReader

        nonlocal reader
        reader = reader or PdfReader(fetching(), params)
        return await _read_all(reader, messages, nonce)

    return Reader(read, MOST_FILES * params.seconds + OWN)


Place = tuple[int, int]
"""Which message, and which part of its content."""


async def _read_all(reader: "PdfReader", messages: Raw, nonce: str) -> Read:
    items = _decode_items(messages)
    files = _files(items)
    texts: dict[int, dict[int, Raw]] = {}
    for number, ((place, at), file) in enumerate(files.items(), 1):
        try:
            source = await reader.read(file)
        except PluginFailed as error:
            raise _of_file(number, error, file.name) from error
        text = file_text(source.title, source.text, nonce)
        texts.setdefault(place, {})[at] = Raw(_encode({"type": "text", "text": text}))
    for place, changed in texts.items():
        message = _decode_members(items[place])
        parts = _decode_items(message["content"])
        read = [changed.get(at, part) for at, part in enumerate(parts)]
        items[place] = Raw(_encode(message | {"content": Raw(_encode(read))}))
    return Read(Raw(_encode(items)) if files else messages, len(files))


def _files(items: list[Raw]) -> dict[Place, "PdfFile"]:
    """Every PDF, counted before any is read. Raises PluginFailed."""
    files: dict[Place, PdfFile] = {}
    for place, item in enumerate(items):
        content = _decode_members(item).get("content", Raw(b"null"))
        if not bytes(content).startswith(b"["):
            continue
        for at, part in enumerate(_decode_items(content)):
            try:
                file = _file(part)
            except PluginFailed as error:
                raise _of_file(len(files) + 1, error) from error
            if file is not None:
                if len(files) == MOST_FILES:
                    raise PluginFailed(f"pdf: more than {MOST_FILES} files")
                files[place, at] = file
    return files


def _file(part: Raw) -> "PdfFile | None":
    """A part's PDF; None where it has none. Raises PluginFailed."""
    from kproxy.plugins.pdf_file import file_of

    raw = bytes(part)
    if b"file" not in raw[:256] and b"pdf" not in raw[:256] and b"file" not in raw[-256:]:
        return None  # an image of megabytes is not taken apart to know that it is one
    return file_of(msgspec.json.decode(raw))


def _of_file(number: int, error: PluginFailed, name: str = "") -> PluginFailed:
    """The same failure, with the number of the file and the name that the caller gave it."""
    which = f"file {number} ({name[:NAMED]})" if name else f"file {number}"
    return PluginFailed(f"pdf: {which}: {error.reason.removeprefix('pdf: ')}")


def code_plugin(
    definition: Mapping[str, object],
    call: Callable[[str], Awaitable[str]],
    seconds: float,
    size: int,
) -> Tool:
    """`code-exec`, on a `CodeExec`; `seconds` with the time until a child is free."""

    async def run(arguments: str) -> Result:
        return Result(await call(arguments))

    function = definition["function"]
    assert isinstance(function, Mapping)
    return Tool(str(function["name"]), Raw(_encode(definition)), run, seconds, size)


def _definition(name: str, description: str, properties: Mapping[str, object]) -> Raw:
    parameters = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    function = {"name": name, "description": description, "parameters": parameters}
    return Raw(_encode({"type": "function", "function": function}))

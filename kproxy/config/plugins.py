"""The `[plugins]` tables in, checked and complete out; and from them the plugins' own parameters.

Every check raises ValueError `table.field: reason` and repeats no value, like those of `checks.py`.
"""

import dataclasses
from importlib.util import find_spec
from pathlib import Path

import msgspec

from kproxy.config.checks import check_base_url
from kproxy.config.model import PluginsConfig
from kproxy.config.plugin_model import CodeExecConfig, ImageGenConfig, WebSearchConfig
from kproxy.money import nanos
from kproxy.plugins.params import (
    BASE_URLS,
    GutenbergParams,
    ImageParams,
    PdfParams,
    SearchParams,
)
from kproxy.plugins.settings import SandboxParams, unavailable
from kproxy.transport.reach import read_configured

__all__ = [
    "PluginParams",
    "check_plugins",
    "describe_plugins",
    "plugin_params",
    "sandbox_lack",
    "sandbox_params",
]

_OPTIONS = ("size", "quality", "response_format", "output_format")
_HOSTED = "https://api.openai.com/v1"


@dataclasses.dataclass(frozen=True, slots=True)
class PluginParams:
    """What each plugin is built with. None: it is not there."""

    web_search: SearchParams | None
    gutenberg: GutenbergParams | None
    image_gen: ImageParams | None
    pdf_reader: PdfParams | None


def check_plugins(given: PluginsConfig) -> PluginsConfig:
    """The tables with every address in its final form. Raises ValueError."""
    search, library, image = given.web_search, given.gutenberg, given.image_gen
    if search is not None:
        search = _checked_search(search)
    if library is not None:
        library = msgspec.structs.replace(
            library,
            base_url=_address("gutenberg.base_url", library.base_url),
            mirror=library.mirror and _address("gutenberg.mirror", library.mirror),
        )
        if library.cache is not None and (not library.cache.strip() or "\0" in library.cache):
            raise ValueError("gutenberg.cache: not the name of a directory")
    if image is not None:
        image = _checked_image(image)
    return msgspec.structs.replace(given, web_search=search, gutenberg=library, image_gen=image)


def _checked_search(given: WebSearchConfig) -> WebSearchConfig:
    base_url = given.base_url or BASE_URLS.get(given.backend)
    if base_url is None:
        raise ValueError("web-search.base_url: a SearXNG is the operator's own: say where it is")
    if given.backend != "searxng" and given.api_key is None:
        raise ValueError(f"web-search.api_key: {given.backend} wants one")
    return msgspec.structs.replace(given, base_url=_address("web-search.base_url", base_url))


def _checked_image(given: ImageGenConfig) -> ImageGenConfig:
    base_url = _address("image-gen.base_url", given.base_url)
    if base_url == _HOSTED and given.api_key is None:
        raise ValueError("image-gen.api_key: OpenAI wants one")
    for name in ("model", "size", "quality"):
        value = getattr(given, name)
        if value is not None and not (value.strip() and value.isprintable()):
            raise ValueError(f"image-gen.{name}: must be printable and not empty")
    if given.price is not None:
        try:
            nanos(given.price)
        except ValueError as error:
            raise ValueError(f"image-gen.price: {error}") from error
    return msgspec.structs.replace(given, base_url=base_url)


def _address(field: str, text: str) -> str:
    try:
        address = check_base_url(text)
        read_configured(address)  # as strict as it will be read when it is fetched from
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from error
    return address


def plugin_params(given: PluginsConfig, data_dir: Path) -> PluginParams:
    """The parameters of every plugin that is there. `given` has been checked, its paths are whole.

    Whether pypdf is installed shows when a file is read, and not before.
    """
    return PluginParams(
        web_search=_search(given),
        gutenberg=_gutenberg(given, data_dir),
        image_gen=_image(given),
        pdf_reader=_pdf(given),
    )


def _search(given: PluginsConfig) -> SearchParams | None:
    search = given.web_search
    if search is None:
        return None
    assert search.base_url is not None
    return SearchParams(
        backend=search.backend,
        base_url=search.base_url,
        api_key=search.api_key,
        count=search.count,
        text=search.characters,
        size=search.bytes,
        seconds=search.seconds,
    )


def _gutenberg(given: PluginsConfig, data_dir: Path) -> GutenbergParams | None:
    library = given.gutenberg
    if library is None:
        return None
    return GutenbergParams(
        base_url=library.base_url,
        mirror=library.mirror,
        cache=data_dir / "gutenberg" if library.cache is None else Path(library.cache),
        cache_size=library.cache_bytes,
        books=library.books,
        passages=library.passages,
        size=library.book_bytes,
        seconds=library.seconds,
    )


def _image(given: PluginsConfig) -> ImageParams | None:
    image = given.image_gen
    if image is None:
        return None
    options = ((name, getattr(image, name)) for name in _OPTIONS)
    return ImageParams(
        base_url=image.base_url,
        api_key=image.api_key,
        model=image.model,
        options=tuple((name, value) for name, value in options if value is not None),
        cost=None if image.price is None else nanos(image.price),
        size=image.bytes,
        seconds=image.seconds,
    )


def _pdf(given: PluginsConfig) -> PdfParams | None:
    pdf = given.pdf_reader
    if not pdf.enabled:
        return None
    return PdfParams(
        size=pdf.bytes,
        pages=pdf.pages,
        text=pdf.characters,
        memory=pdf.memory,
        seconds=pdf.seconds,
        children=pdf.children,
        fetch=pdf.fetch,
    )


def sandbox_params(given: CodeExecConfig, data_dir: Path) -> SandboxParams | None:
    """For code-exec; None where it is switched off, or left alone and not installed."""
    wanted = sandbox_lack(given, data_dir) is None if given.enabled is None else given.enabled
    return _sandbox(given, data_dir) if wanted else None


def sandbox_lack(given: CodeExecConfig, data_dir: Path) -> str | None:
    """Why code-exec's sandbox cannot be there: what to install; None: nothing is missing."""
    return unavailable(_sandbox(given, data_dir))


def _sandbox(given: CodeExecConfig, data_dir: Path) -> SandboxParams:
    return SandboxParams(
        tier=given.tier,
        seconds=given.seconds,
        memory_bytes=given.memory_mb << 20,
        output_bytes=given.output_kb << 10,
        require=given.require,
        children=given.children,
        wasm=None if given.wasm is None else Path(given.wasm),
        sha256=given.sha256 or "",
        cache=data_dir / "sandbox",
    )


def describe_plugins(given: PluginsConfig, code: str | None) -> dict[str, str]:
    """Who is offered, and what does the work; `code` says why there is no sandbox, None: there is.

    A plugin that is off is left out; one that is on and lacks a library says what to install.
    """
    told: dict[str, str] = {}
    if given.web_search is not None:
        told["web-search"] = given.web_search.backend
    if given.gutenberg is not None:
        told["gutenberg"] = given.gutenberg.base_url
    if given.image_gen is not None:
        told["image-gen"] = given.image_gen.model
    if given.pdf_reader.enabled:
        told["pdf-reader"] = "on" if find_spec("pypdf") else "off: pip install 'kproxy[pdf]'"
    if given.code_exec.enabled is not False:
        told["code-exec"] = f"tier {given.code_exec.tier}" if code is None else f"off: {code}"
    if given.memory.enabled:
        told["memory"] = "on"
    return told

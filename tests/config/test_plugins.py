"""`[plugins.NAME]`: from the file to what each plugin is built with."""

from pathlib import Path

import msgspec
import pytest

from kproxy.config import ConfigError, Overrides, load
from kproxy.config.model import PluginsConfig
from kproxy.config.plugin_model import GutenbergConfig, ImageGenConfig, WebSearchConfig
from kproxy.config.plugins import PluginParams, check_plugins, plugin_params
from kproxy.plugins.params import GutenbergParams, ImageParams, PdfParams, SearchParams

FILE = """
[plugins.web-search]
backend = "searxng"
base_url = "http://10.0.0.7:8080/"
api_key = "${env:SEARCH_KEY}"
count = 3
characters = 500
bytes = 1000
seconds = 2

[plugins.gutenberg]
base_url = "http://gutendex.local:8000"
mirror = "http://mirror.local/gutenberg/"
cache = "books"
cache_bytes = 1000
books = 1
passages = 2
book_bytes = 500
seconds = 3

[plugins.image-gen]
base_url = "http://10.0.0.8/v1"
model = "flux"
size = "512x512"
quality = "low"
response_format = "url"
output_format = "png"
price = 0.011
bytes = 700
seconds = 4

[plugins.pdf-reader]
bytes = 600
pages = 5
characters = 50
memory = 200000000
seconds = 6
children = 1
fetch = false
"""


@pytest.fixture
def read(tmp_path):
    def reading(text):
        file = tmp_path / "kproxy.toml"
        file.write_text(text)
        config = load(Overrides(config=file), {"HOME": "/srv/op", "SEARCH_KEY": "secret"})
        return plugin_params(config.plugins, config.data_dir)

    return reading


def test_without_tables_only_what_needs_nobody_is_there(read):
    assert read("") == PluginParams(None, None, None, PdfParams())


def test_every_key_of_the_file_arrives(read, tmp_path):
    given = read(FILE)
    search = given.web_search
    assert search.api_key.reveal() == "secret"
    assert msgspec.structs.replace(search, api_key=None) == SearchParams(
        backend="searxng", base_url="http://10.0.0.7:8080", count=3, text=500, size=1_000, seconds=2
    )
    assert given.gutenberg == GutenbergParams(
        base_url="http://gutendex.local:8000",
        mirror="http://mirror.local/gutenberg",
        cache=tmp_path / "books",
        cache_size=1_000,
        books=1,
        passages=2,
        size=500,
        seconds=3,
    )
    assert given.image_gen == ImageParams(
        base_url="http://10.0.0.8/v1",
        api_key=None,
        model="flux",
        options=(
            ("size", "512x512"), ("quality", "low"), ("response_format", "url"),
            ("output_format", "png"),
        ),
        cost=11_000_000,
        size=700,
        seconds=4,
    )  # fmt: skip
    assert given.pdf_reader == PdfParams(
        size=600, pages=5, text=50, memory=200_000_000, seconds=6, children=1, fetch=False
    )
    assert "secret" not in repr(given)


def test_the_defaults_of_the_file_are_those_of_the_plugins(read):
    given = read(
        '[plugins.web-search]\nbackend = "tavily"\napi_key = "k"\n[plugins.gutenberg]\n'
        '[plugins.image-gen]\nmodel = "m"\napi_key = "k"\n'
    )
    search, library, image = given.web_search, given.gutenberg, given.image_gen
    assert search == SearchParams(
        backend="tavily", base_url="https://api.tavily.com", api_key=search.api_key
    )
    cache = Path("/srv/op/.local/state/kproxy/gutenberg")
    assert library == GutenbergParams(base_url="https://gutendex.com", cache=cache)
    assert image == ImageParams(
        base_url="https://api.openai.com/v1", api_key=image.api_key, model="m"
    )


def test_brave_is_where_it_is(read):
    given = read('[plugins.web-search]\nbackend = "brave"\napi_key = "k"\n')
    assert given.web_search.base_url == "https://api.search.brave.com"


def test_the_pdf_reader_can_be_switched_off(read):
    assert read("[plugins.pdf-reader]\nenabled = false\n").pdf_reader is None


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('web-search]\nbackend = "searxng"', ":1: plugins.web-search.base_url: a SearXNG"),
        ('web-search]\nbackend = "brave"', ":1: plugins.web-search.api_key: brave wants one"),
        (
            'web-search]\nbackend = "x"',
            ':2: plugins.web-search.backend: must be "brave", ',
        ),
        (
            'web-search]\nbackend = "searxng"\nbase_url = "x"',
            ":3: plugins.web-search.base_url: must",
        ),
        (
            'web-search]\nbackend = "tavily"\napi_key = "secret\\n1"',
            ":3: plugins.web-search.api_key",
        ),
        ('gutenberg]\nbase_url = "ftp://a"', ":2: plugins.gutenberg.base_url: must start"),
        ('gutenberg]\nmirror = "http://a:secret@b"', ":2: plugins.gutenberg.mirror: must not hold"),
        ('gutenberg]\ncache = " "', ":2: plugins.gutenberg.cache: not the name"),
        ('gutenberg]\nbase_url = "http://0x7f.1"', ":2: plugins.gutenberg.base_url: the host is"),
        ("gutenberg]\nbooks = 0", ":2: plugins.gutenberg.books: expected"),
        ('image-gen]\napi_key = "k"', ":1: plugins.image-gen: model is missing"),
        ('image-gen]\nmodel = "m"', ":1: plugins.image-gen.api_key: OpenAI wants one"),
        ('image-gen]\nmodel = ""\napi_key = "k"', ":2: plugins.image-gen.model: must be"),
        (
            'image-gen]\nmodel = "m"\napi_key = "k"\nprice = -1',
            ":4: plugins.image-gen.price: not an",
        ),
        (
            'image-gen]\nmodel = "m"\nbase_url = "http://a?x"',
            ":3: plugins.image-gen.base_url: must",
        ),
        ("pdf-reader]\nmemory = 1", ":2: plugins.pdf-reader.memory: expected"),
        ("pdf-reader]\nx = 1", ":2: plugins.pdf-reader.x: unknown key"),
        ("web_search]\nx = 1", ":1: plugins.web_search: unknown key"),
    ],
)
def test_what_is_wrong_has_its_line(read, text, place):
    with pytest.raises(ConfigError) as caught:
        read(f"[plugins.{text}\n")
    assert place in str(caught.value)
    assert "secret" not in str(caught.value)


def test_tables_that_were_checked_pass_again():
    given = PluginsConfig(
        web_search=WebSearchConfig(backend="searxng", base_url="http://a/"),
        gutenberg=GutenbergConfig(base_url="http://b/"),
        image_gen=ImageGenConfig(base_url="http://c/", model="m"),
    )
    once = check_plugins(given)
    assert once.web_search.base_url == "http://a"
    assert check_plugins(once) == once

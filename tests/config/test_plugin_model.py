"""The bounds of the `[plugins]` tables, and that their defaults are those of the plugins."""

import msgspec
import pytest

from kproxy.config.model import PluginsConfig
from kproxy.config.plugin_model import (
    GutenbergConfig,
    ImageGenConfig,
    PdfReaderConfig,
    WebSearchConfig,
)


def test_every_table_is_named_by_its_id():
    names = {field.encode_name for field in msgspec.structs.fields(PluginsConfig)}
    assert {"web-search", "gutenberg", "image-gen", "pdf-reader"} <= names


def test_what_needs_somebody_elses_service_is_off():
    given = PluginsConfig()
    assert (given.web_search, given.gutenberg, given.image_gen) == (None, None, None)
    assert given.pdf_reader.enabled


@pytest.mark.parametrize(
    ("table", "given"),
    [
        (WebSearchConfig, {"backend": "google"}),
        (WebSearchConfig, {}),
        (WebSearchConfig, {"backend": "brave", "count": 21}),
        (WebSearchConfig, {"backend": "brave", "count": 0}),
        (WebSearchConfig, {"backend": "brave", "seconds": 0}),
        (WebSearchConfig, {"backend": "brave", "bytes": 1 << 21}),
        (GutenbergConfig, {"books": 0}),
        (GutenbergConfig, {"cache_bytes": 0}),
        (GutenbergConfig, {"book_bytes": 1 << 30}),
        (ImageGenConfig, {}),
        (ImageGenConfig, {"model": "m", "response_format": "png"}),
        (ImageGenConfig, {"model": "m", "unknown": 1}),
        (PdfReaderConfig, {"memory": 1 << 20}),
        (PdfReaderConfig, {"children": 0}),
        (PdfReaderConfig, {"pages": 10_001}),
    ],
)
def test_out_of_bounds(table, given):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(given, table)

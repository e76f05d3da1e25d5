"""Parameters are values: frozen, quiet about secrets, and cheap to have."""

import subprocess
import sys

import pytest

from kproxy.admission.keys import Secret
from kproxy.plugins.params import ImageParams, SearchParams

WORKERS = (
    "web_search",
    "gutenberg",
    "passages",
    "bookshelf",
    "image_gen",
    "pdf_reader",
    "pdf_child",
)


def test_a_secret_does_not_show_and_nothing_changes():
    image = ImageParams(base_url="https://a.example", api_key=Secret("secret"), model="m")
    assert "secret" not in repr(image)
    search = SearchParams(backend="brave", base_url="https://a.example")
    with pytest.raises(AttributeError):
        search.count = 9


def test_who_switches_no_plugin_on_loads_none():
    words = "import sys, kproxy.app; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "kproxy.plugins.params" in loaded
    assert loaded.isdisjoint({*(f"kproxy.plugins.{name}" for name in WORKERS), "pypdf"})
    assert "kproxy.transport.fetch" not in loaded

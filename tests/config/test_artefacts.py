"""The packaged router is mapped, an operator's own is read."""

import mmap

import pytest

from kproxy.config.artefacts import load_packaged_router, read_router
from kproxy.routing.artefact import ArtefactError
from kproxy.routing.panel import ModelRow
from kproxy.routing.router import load
from tests.fakes.answered import trained

ASKED = "Tom has 12 apples and buys 3 bags of 4 apples each. How many apples does he have?"


def test_the_packaged_one_lies_in_its_file():
    data = load_packaged_router()._lanes._data
    assert isinstance(data, memoryview)
    assert isinstance(data.obj, mmap.mmap)


def test_the_packaged_one_judges():
    assert load_packaged_router().judge(ASKED, [ModelRow("any")]).category == "reasoning"


def test_an_operators_own_may_be_written_over(tmp_path):
    """Of a mapped file each row would be a SIGBUS now."""
    path = tmp_path / "own.bin"
    path.write_bytes(trained())
    router = read_router(path)
    path.write_bytes(b"")
    assert router.evidence(ASKED) == load(trained()).evidence(ASKED)


def test_a_damaged_one_is_refused(tmp_path):
    path = tmp_path / "own.bin"
    path.write_bytes(trained()[:-1])
    with pytest.raises(ArtefactError, match="cut"):
        read_router(path)

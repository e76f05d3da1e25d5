"""Parts of messages that hold a PDF, in the shapes that clients send."""

import pytest

from kproxy.plugins.pdf_file import PdfFile, file_of
from kproxy.plugins.source import PluginFailed

DATA = "data:application/pdf;base64,JVBERi0x"
URL = "https://a.example/report.pdf"


def part(**file):
    return {"type": "file", "file": file}


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (part(filename="a.pdf", file_data=DATA), PdfFile("a.pdf", "JVBERi0x")),
        (part(file_data=DATA), PdfFile("document.pdf", "JVBERi0x")),
        (part(file_data="JVBERi0x"), PdfFile("document.pdf", "JVBERi0x")),
        (part(filename="a.pdf", file_data=URL), PdfFile("a.pdf", url=URL)),
        (part(filename="a.pdf", file_url=URL), PdfFile("a.pdf", url=URL)),
        (part(file_id=URL), PdfFile("document.pdf", url=URL)),
        ({"type": "input_file", "filename": "b.pdf", "file_data": DATA},
         PdfFile("b.pdf", "JVBERi0x")),
        ({"type": "input_file", "file_url": URL}, PdfFile("document.pdf", url=URL)),
        ({"type": "image_url", "image_url": {"url": DATA}}, PdfFile("document.pdf", "JVBERi0x")),
        ({"type": "image_url", "image_url": DATA}, PdfFile("document.pdf", "JVBERi0x")),
        (part(filename="A.PDF", file_data="data:;base64,JVBERi0x"), PdfFile("A.PDF", "JVBERi0x")),
        (
            part(filename="a.pdf", file_data="data:application/octet-stream;base64,JVBERi0x"),
            PdfFile("a.pdf", "JVBERi0x"),
        ),
        (
            part(filename="a\n.pdf", file_data="DATA:Application/PDF;name=x.pdf;BASE64,JVBERi0x"),
            PdfFile("a .pdf", "JVBERi0x"),
        ),
    ],
)  # fmt: skip
def test_a_part_with_a_pdf(given, found):
    assert file_of(given) == found


@pytest.mark.parametrize(
    "given",
    [
        None, "text", 1, [], {}, {"type": "text", "text": DATA}, {"type": "file"},
        {"type": "file", "file": DATA}, part(), part(file_data=1), part(file_data=""),
        part(filename="a.txt", file_data="data:text/plain;base64,YQ=="),
        part(filename="a.bin", file_data="data:application/octet-stream;base64,YQ=="),
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,YQ=="}},
        {"type": "image_url", "image_url": {"url": URL}}, {"type": "image_url", "image_url": None},
        {"type": "image_url", "image_url": "data:nonsense"}, {"type": "input_audio"},
    ],
)  # fmt: skip
def test_a_part_without_one(given):
    assert file_of(given) is None


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (part(file_id="file-abc123"), "neither data nor an address"),
        (part(file_data="nonsense"), "neither data nor an address"),
        (part(file_data="file:///etc/passwd"), "neither data nor an address"),
        (part(file_data="data:application/pdf,%25PDF"), "not in base64"),
    ],
)
def test_a_pdf_that_cannot_be_had(given, reason):
    with pytest.raises(PluginFailed, match=reason):
        file_of(given)


def test_the_data_does_not_show():
    assert repr(PdfFile("a.pdf", "JVBERi0x")) == "<PdfFile 'a.pdf' 8 characters>"


def test_a_name_for_people_is_short():
    assert len(file_of(part(filename="x" * 10_000, file_data=DATA)).name) == 200

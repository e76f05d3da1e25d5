"""PDF files, whole ones and broken ones, as bytes.

In: the lines of each page. Out: a file that pypdf has written, with content streams, a font and a
page tree; or one that is wrong in a way that files are wrong.
"""

import base64
import io
import zlib
from functools import cache

from pypdf import PdfWriter
from pypdf.generic import (
    ArrayObject,
    DecodedStreamObject,
    DictionaryObject,
    EncodedStreamObject,
    NameObject,
    NumberObject,
    StreamObject,
)

__all__ = ["bomb", "data_url", "drawn", "endless", "locked", "ring", "slow", "written"]


def written(*pages: str) -> bytes:
    """A file with this text on its pages."""
    writer = PdfWriter()
    for text in pages:
        shown = " ".join(f"({_escaped(line)}) Tj T*" for line in text.split("\n"))
        _page(writer, f"BT /F1 12 Tf 14 TL 72 720 Td {shown} ET".encode("latin-1"))
    return _bytes(writer)


def locked(text: str, password: str) -> bytes:
    """The same, encrypted; by its owner's password alone where `password` is empty."""
    writer = PdfWriter()
    _page(writer, f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode())
    writer.encrypt(password, owner_password="owner", algorithm="AES-128")
    return _bytes(writer)


def drawn() -> bytes:
    """A page with a line on it and no text, as scanners make them."""
    writer = PdfWriter()
    _page(writer, b"0 0 m 100 100 l S")
    return _bytes(writer)


@cache
def bomb(megabytes: int) -> bytes:
    """A small file with a page that inflates to so much."""
    engine = zlib.compressobj(9)
    zeros = b" " * (1 << 20)
    packed = b"".join([*(engine.compress(zeros) for _ in range(megabytes)), engine.flush()])
    stream = EncodedStreamObject()
    stream._data = packed
    stream[NameObject("/Filter")] = NameObject("/FlateDecode")
    writer = PdfWriter()
    _page(writer, stream)
    return _bytes(writer)


@cache
def slow() -> bytes:
    """A small file whose page takes pypdf very long."""
    words = b"BT /F1 12 Tf " + b"1 0 0 1 72 720 Tm (a) Tj " * 600_000 + b"ET"
    stream = EncodedStreamObject()
    stream._data = zlib.compress(words, 9)
    stream[NameObject("/Filter")] = NameObject("/FlateDecode")
    writer = PdfWriter()
    _page(writer, stream)
    return _bytes(writer)


def ring() -> bytes:
    """A page tree that contains itself."""
    writer = PdfWriter()
    _page(writer, b"")
    pages = writer._root_object["/Pages"]
    pages[NameObject("/Kids")] = ArrayObject([writer._root_object.raw_get("/Pages")])
    return _bytes(writer)


def endless() -> bytes:
    """A table of cross references that says it comes before itself."""
    whole = written("text")
    at = whole.rindex(b"startxref")
    return (
        whole[:at].replace(b"trailer\n<<", b"trailer\n<<\n/Prev %d" % whole.rindex(b"xref", 0, at))
        + whole[at:]
    )


def data_url(data: bytes) -> str:
    return f"data:application/pdf;base64,{base64.b64encode(data).decode()}"


def _page(writer: PdfWriter, content: bytes | StreamObject) -> None:
    page = writer.add_blank_page(612, 792)
    font = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/Helvetica"),
            NameObject("/FirstChar"): NumberObject(0),
        }
    )
    fonts = DictionaryObject({NameObject("/F1"): font})
    page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
    if isinstance(content, bytes):
        stream: StreamObject = DecodedStreamObject()
        stream.set_data(content)
    else:
        stream = content
    page[NameObject("/Contents")] = writer._add_object(stream)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")


def _bytes(writer: PdfWriter) -> bytes:
    sink = io.BytesIO()
    writer.write(sink)
    return sink.getvalue()

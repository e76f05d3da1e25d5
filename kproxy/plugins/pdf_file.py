"""A part of a message in; where its PDF is out, if it has one. Pure.

The shapes that clients send: OpenAI's `{"type": "file", "file": {"filename", "file_data"}}` with a
data URL, the same with an address in `file_data` (OpenRouter), in `file_url` or in `file_id`
(LiteLLM); the Responses API's `{"type": "input_file", "file_data" or "file_url"}`; and a PDF's data
URL where an image's would be.
"""

import re
from collections.abc import Mapping

import msgspec

from kproxy.plugins.source import PluginFailed, plain

__all__ = ["PdfFile", "file_of"]

_DATA = re.compile(r"data:([A-Za-z0-9.+/-]*)((?:;[A-Za-z0-9=._%-]+)*?)(;base64)?,", re.I)
_KINDS = ("application/pdf", "application/x-pdf")
_UNSAID = ("", "application/octet-stream", "binary/octet-stream")
_DATA_PDF = tuple(f"data:{kind}" for kind in _KINDS)
_BARE = "JVBERi"  # how every PDF begins in base64
_NAME = 200  # characters


class PdfFile(msgspec.Struct, frozen=True):
    """Either `base64` or `url` is there. `name` is for people."""

    name: str
    base64: str = ""
    url: str = ""

    def __repr__(self) -> str:
        return f"<PdfFile {self.name!r} {len(self.base64)} characters>"


def file_of(part: object) -> PdfFile | None:
    """The PDF of a part; None where the part is something else.

    Raises PluginFailed for one that is a PDF and cannot be had: an id of a file that was put
    somewhere else, data that is not in base64.
    """
    if not isinstance(part, Mapping):
        return None
    kind = part.get("type")
    if kind == "image_url":
        image = part.get("image_url")
        url = image.get("url") if isinstance(image, Mapping) else image
        if not isinstance(url, str) or not url[:32].lower().startswith(_DATA_PDF):
            return None
        return _from_text(url, "document.pdf", sure=False)
    given = part.get("file") if kind == "file" else part if kind == "input_file" else None
    if not isinstance(given, Mapping):
        return None
    name = plain(given.get("filename"), _NAME)
    for field in ("file_data", "file_url", "file_id"):
        text = given.get(field)
        if isinstance(text, str) and text:
            return _from_text(text, name or "document.pdf", sure=name.lower().endswith(".pdf"))
    return None


def _from_text(text: str, name: str, *, sure: bool) -> PdfFile | None:
    """`sure`: the file's name says that it is one."""
    if text[:4].lower() == "http":
        return PdfFile(name, url=text)
    if text.startswith(_BARE):
        return PdfFile(name, base64=text)
    match = _DATA.match(text)
    if match is None:
        raise PluginFailed("pdf: a file that is neither data nor an address")
    kind, _, encoded = match.groups()
    if kind.lower() not in _KINDS and not (sure and kind.lower() in _UNSAID):
        return None
    if not encoded:
        raise PluginFailed("pdf: data that is not in base64")
    return PdfFile(name, base64=text[match.end() :])

"""An image or a file of OpenAI's form in, Anthropic's block out, or why there is none.

Images as JPEG, PNG, GIF or WebP, inside or by address; files as PDF or plain text, inside. Nothing
is fetched here: an address goes on to Anthropic, which fetches it.
"""

import binascii
from base64 import b64decode
from typing import Any

from kproxy.errors import NotCarried

__all__ = ["document", "image"]

IMAGES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_OFTEN_MEANT = {"image/jpg": "image/jpeg"}


def image(url: str, where: str) -> dict[str, Any]:
    """A data URL or an address. Raises NotCarried."""
    if url.startswith(("https://", "http://")):
        return {"type": "image", "source": {"type": "url", "url": url}}
    media, data = _inside(url, where)
    media = _OFTEN_MEANT.get(media, media)
    if media not in IMAGES:
        raise NotCarried(where, f"Anthropic reads no images of the type '{media[:60]}'.")
    return {"type": "image", "source": {"type": "base64", "media_type": media, "data": data}}


def document(data_url: str | None, name: str | None, where: str) -> dict[str, Any]:
    """The bytes of a file as a data URL; a file that OpenAI keeps is not there for Anthropic.
    Raises NotCarried."""
    if data_url is None:
        raise NotCarried(where, "A file travels as file_data; another provider's id means nothing.")
    media, data = _inside(data_url, where)
    source = {"type": "base64", "media_type": media, "data": data}
    if media == "text/plain":
        source = {"type": "text", "media_type": media, "data": _decoded(data, where)}
    elif media != "application/pdf":
        raise NotCarried(where, f"Anthropic reads no files of the type '{media[:60]}'.")
    titled = {"title": name} if name else {}
    return {"type": "document", "source": source, **titled}


def _inside(url: str, where: str) -> tuple[str, str]:
    """Media type and base64 text of a data URL (RFC 2397)."""
    kind, comma, data = url.partition(",")
    media, *parameters = kind.removeprefix("data:").split(";")
    if not (url.startswith("data:") and comma and "base64" in parameters):
        raise NotCarried(where, "Expected a data URL in base64, or for an image an address.")
    return media.strip().lower(), data


def _decoded(data: str, where: str) -> str:
    try:
        return b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise NotCarried(where, "The file is not base64 of a text in UTF-8.") from error

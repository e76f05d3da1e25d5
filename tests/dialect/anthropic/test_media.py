"""Images and files that Anthropic reads, and those that it does not."""

import pytest

from kproxy.dialect.anthropic.media import IMAGES, document, image
from kproxy.errors import NotCarried

WHERE = "messages[0].content[1]"


@pytest.mark.parametrize("media", sorted(IMAGES))
def test_images_inside(media: str) -> None:
    found = image(f"data:{media};base64,AAAA", WHERE)
    assert found["source"] == {"type": "base64", "media_type": media, "data": "AAAA"}


def test_a_common_mistake_is_understood() -> None:
    assert image("data:image/JPG;base64,AAAA", WHERE)["source"]["media_type"] == "image/jpeg"


@pytest.mark.parametrize("url", ["https://h/a.png", "http://h/a.png"])
def test_images_by_address_are_not_fetched_here(url: str) -> None:
    assert image(url, WHERE) == {"type": "image", "source": {"type": "url", "url": url}}


@pytest.mark.parametrize(
    "url",
    [
        "data:image/svg+xml;base64,AAAA",
        "data:image/png,AAAA",
        "data:image/png;base64",
        "file:///etc/passwd",
        "iVBORw0KGgo=",
        "",
    ],
)
def test_images_that_are_none(url: str) -> None:
    with pytest.raises(NotCarried) as caught:
        image(url, WHERE)
    assert caught.value.param == WHERE


def test_files() -> None:
    pdf = document("data:application/pdf;base64,AAAA", "a.pdf", WHERE)
    assert pdf == {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"},
        "title": "a.pdf",
    }
    plain = document("data:text/plain;charset=utf-8;base64,w6Q=", None, WHERE)
    assert plain["source"] == {"type": "text", "media_type": "text/plain", "data": "\u00e4"}
    assert "title" not in plain


@pytest.mark.parametrize(
    "data",
    [
        None,
        "JVBERi0=",
        "data:application/zip;base64,AAAA",
        "data:text/plain;base64,/w==",
        "data:text/plain;base64,=",
        "data:text/plain;base64,\u00e4",
    ],
)
def test_files_that_it_does_not_read(data: str | None) -> None:
    with pytest.raises(NotCarried) as caught:
        document(data, "a", WHERE)
    assert caught.value.param == WHERE

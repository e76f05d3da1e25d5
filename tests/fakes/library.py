"""Gutendex and Project Gutenberg in their documented shapes.

In: what a book is called and where its text is. Out: a page of the catalogue as a value for JSON,
and a text between the marks and the licence that the project puts around it.
"""

__all__ = ["book", "page", "printed"]


def page(*books: dict[str, object]) -> dict[str, object]:
    return {"count": len(books), "next": None, "previous": None, "results": list(books)}


def book(number: int, title: str, author: str, text_url: str | None) -> dict[str, object]:
    home = f"https://www.gutenberg.org/ebooks/{number}"
    formats = {"text/html": f"{home}.html.images", "application/epub+zip": f"{home}.epub3.images"}
    if text_url is not None:
        formats["text/plain; charset=us-ascii"] = text_url
    return {
        "id": number, "title": title, "subjects": ["Whaling -- Fiction"], "summaries": ["..."],
        "authors": [{"name": author, "birth_year": 1819, "death_year": 1891}], "translators": [],
        "bookshelves": ["Best Books Ever Listings"], "languages": ["en"], "copyright": False,
        "media_type": "Text", "formats": formats, "download_count": 100_000,
    }  # fmt: skip


def printed(text: str, *, title: str = "MOBY DICK", this: str = "THE") -> bytes:
    """As the project writes a file: a mark of byte order, its own line ends, licence around."""
    whole = (
        f"\ufeffThe Project Gutenberg eBook of {title}\n\nThis ebook is for the use of anyone "
        f"anywhere.\n\n*** START OF {this} PROJECT GUTENBERG EBOOK {title} ***\n\n{text}\n\n"
        f"*** END OF {this} PROJECT GUTENBERG EBOOK {title} ***\n\nTHE FULL LICENSE\n"
    )
    return whole.replace("\n", "\r\n").encode()

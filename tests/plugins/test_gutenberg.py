"""A library in Gutendex's shape on real sockets, and what is read there."""

from urllib.parse import parse_qs

import pytest

from kproxy.plugins.gutenberg import Library, cut_licence, queries
from kproxy.plugins.params import GutenbergParams
from kproxy.plugins.source import PluginFailed
from tests.fakes.fetching import fetching
from tests.fakes.library import book, page, printed
from tests.fakes.web import HANG, answer, data, redirect, web

WHALE = "Call me Ishmael. Some years ago I went to see the white whale with the captain. " * 3
STORM = "In the night the storm tore the sails, and nobody slept while it lasted. " * 4
TEXT = f"{STORM}\n\n{WHALE}\n\n{STORM}"
PROMPT = 'Who is the captain in "Moby Dick"?'

loopback = pytest.mark.loopback


def params(server, tmp_path, **given):
    return GutenbergParams(base_url=server.url, cache=tmp_path, **given)


def whale(url, number=2701):
    return book(number, "Moby Dick; Or, The Whale", "Melville, Herman", url)


async def failure(library, prompt=PROMPT):
    with pytest.raises(PluginFailed) as caught:
        await library.find(prompt)
    return caught.value.reason


@loopback
async def test_a_prompt_finds_its_book_and_passage(tmp_path):
    async with fetching() as (fetcher, _), web() as server:
        server.says("/books", data(page(whale(f"{server.url}/2701.txt"))))
        server.says("/2701.txt", answer(printed(TEXT)))
        library = Library(fetcher, params(server, tmp_path, passages=1))
        (source,) = await library.find(PROMPT)
        assert source.title == "Moby Dick; Or, The Whale (Melville, Herman)"
        assert source.url == "https://www.gutenberg.org/ebooks/2701"
        assert source.text == WHALE.strip()
        assert parse_qs(server.asked[0].query) == {
            "search": ["moby dick"], "mime_type": ["text/plain"], "copyright": ["false"],
        }  # fmt: skip
        assert await library.find(PROMPT) == [source]
        assert [asked.path for asked in server.asked] == ["/books", "/2701.txt", "/books"]


@loopback
async def test_the_text_comes_guarded_from_where_the_catalogue_says(tmp_path):
    address = "152.19.134.47"
    async with fetching() as (fetcher, internet), web() as server, web() as home:
        internet.has("www.gutenberg.org", address, home.port)
        server.says("/books", data(page(whale("http://www.gutenberg.org/ebooks/2701.txt"))))
        home.says("/ebooks/2701.txt", redirect("/cache/epub/2701/pg2701.txt"))
        home.says("/cache/epub/2701/pg2701.txt", answer(printed(TEXT)))
        (source,) = await Library(fetcher, params(server, tmp_path)).find(PROMPT)
        assert "Ishmael" in source.text
        assert {origin.host for origin in internet.dialled} == {"127.0.0.1", address}


@loopback
async def test_a_catalogue_that_leads_inside(tmp_path):
    async with fetching() as (fetcher, _), web() as server, web() as inside:
        server.says("/books", data(page(whale(f"{inside.url}/secret"))))
        inside.says("/secret", answer(printed(TEXT)))
        assert "port" in await failure(Library(fetcher, params(server, tmp_path)))
        assert inside.connections == 0


@loopback
async def test_a_mirror_stands_in_for_the_projects_own_server(tmp_path):
    async with fetching() as (fetcher, internet), web() as server, web() as mirror:
        server.says("/books", data(page(whale("https://www.gutenberg.org/ebooks/2701.txt.utf-8"))))
        mirror.says("/m/ebooks/2701.txt.utf-8", answer(printed(TEXT)))
        given = params(server, tmp_path, mirror=f"{mirror.url}/m")
        (source,) = await Library(fetcher, given).find(PROMPT)
        assert "Ishmael" in source.text
        assert internet.looked_up == []


@loopback
async def test_the_next_query_where_one_finds_nothing_and_then_no_more(tmp_path):
    async with fetching() as (fetcher, _), web() as server:
        server.says("/books", data(page(book(1, "Pictures", "A", None))))  # has no text
        assert await Library(fetcher, params(server, tmp_path)).find(PROMPT) == []
        searched = [parse_qs(asked.query)["search"] for asked in server.asked]
        assert searched == [["moby dick"], ["captain"], ["moby"]]
        assert await Library(fetcher, params(server, tmp_path)).find("What is it?") == []
        assert len(server.asked) == 3


@loopback
async def test_of_many_books_those_that_share_most_with_the_prompt(tmp_path):
    async with fetching() as (fetcher, _), web() as server:
        books = [book(n, f"Dick {n}", "X", f"{server.url}/x") for n in range(3)]
        books.append(whale(f"{server.url}/x", 9))
        server.says("/books", data(page(*books)))
        server.says("/x", answer(printed(TEXT)))
        found = await Library(fetcher, params(server, tmp_path, books=2)).find(PROMPT)
        assert [source.url.rpartition("/")[2] for source in found] == ["9", "0"]


@loopback
async def test_a_book_that_cannot_be_had_is_left_out_unless_none_can(tmp_path):
    async with fetching() as (fetcher, _), web() as server:
        one, two = whale(f"{server.url}/1", 1), whale(f"{server.url}/2", 2)
        server.says("/books", data(page(one, two)))
        server.says("/2", answer(printed(TEXT)))
        library = Library(fetcher, params(server, tmp_path))
        assert [source.url[-1] for source in await library.find(PROMPT)] == ["2"]
        server.says("/2", answer(b"", status=500))
        assert "500" in await failure(Library(fetcher, params(server, tmp_path / "other")))


@loopback
@pytest.mark.parametrize(
    ("path", "said", "reason"),
    [
        ("/books", answer(b"<html>"), "gutendex sent something else"),
        ("/books", data({"results": [{"title": 1}]}), "gutendex sent something else"),
        ("/books", answer(b"", status=429), "gutendex has had enough"),
        ("/books", answer(b"x" * 600_000), "gutendex: over the limit"),
        ("/x", answer(b"x" * 10_001), "gutenberg: over the limit"),
        ("/x", answer(b""), "a book without text"),
        ("/x", answer(b"", status=404), "gutenberg answered 404"),
    ],
)
async def test_what_goes_wrong_is_said(tmp_path, path, said, reason):
    async with fetching() as (fetcher, _), web() as server:
        server.says("/books", data(page(whale(f"{server.url}/x"))))
        server.says(path, said)
        library = Library(fetcher, params(server, tmp_path, size=10_000))
        assert reason in await failure(library)


@loopback
@pytest.mark.parametrize("path", ["/books", "/x"])
async def test_slow_ones(tmp_path, path):
    async with fetching() as (fetcher, _), web() as server:
        server.says("/books", data(page(whale(f"{server.url}/x"))))
        server.says(path, HANG)
        library = Library(fetcher, params(server, tmp_path, seconds=0.3))
        assert "took too long" in await failure(library)


@loopback
async def test_a_book_in_another_charset(tmp_path):
    async with fetching() as (fetcher, _), web() as server:
        found = whale(f"{server.url}/x")
        found["formats"] = {
            "text/plain; charset=nonsense": f"{server.url}/none",
            "text/plain; charset=iso-8859-1": f"{server.url}/x.zip",
            "text/plain; charset=utf-8": f"{server.url}/x",
        }
        server.says("/books", data(page(found)))
        server.says("/x", answer(printed("Die Größe des Wals. " * 20)))
        (source,) = await Library(fetcher, params(server, tmp_path)).find(PROMPT)
        assert source.text.startswith("Die Größe des Wals.")


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ('Who is "Elizabeth Bennet"?', ("elizabeth bennet", "elizabeth", "bennet")),
        ("Quote \u2018Pride and Prejudice\u2019", ("pride and prejudice", "prejudice", "pride")),
        ("the whale in Moby Dick by Herman Melville",
         ("herman melville", "moby dick", "melville")),
        ("Read me The Count of Monte Cristo", ("count of monte cristo", "cristo", "count")),
        ("What is it about?", ()),
        ("", ()),
        ("x" * 10_000, ("x" * 4_000,)),
    ],
)  # fmt: skip
def test_what_the_catalogue_is_asked(text, asked):
    assert queries(text)[:3] == asked


@pytest.mark.parametrize("this", ["THE", "THIS"])
def test_the_licence_is_cut(this):
    whole = printed("The text.", this=this).decode().replace("\r\n", "\n")
    assert cut_licence(whole) == "The text."


def test_an_older_end_is_known_and_other_stars_are_text():
    old = (
        "licence\n***START OF THE PROJECT GUTENBERG EBOOK X***\n\nOne.\n\n* * *\n\n*** two ***\n\n"
        "not End of Project Gutenberg\n\nEnd of the Project Gutenberg EBook of X\n\n"
        "*** END OF THE PROJECT GUTENBERG EBOOK X ***\nlicence"
    )
    assert cut_licence(old) == "One.\n\n* * *\n\n*** two ***\n\nnot End of Project Gutenberg"


def test_without_marks_all_of_it_is_the_book():
    assert cut_licence("\ufeffOnly text.\n") == "Only text."

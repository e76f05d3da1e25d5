"""Reading in a child process: its limits hold, its end is certain."""

import base64
import os

import pytest
import trio

from kproxy.plugins import pdf_reader
from kproxy.plugins.params import PdfParams
from kproxy.plugins.pdf_file import PdfFile
from kproxy.plugins.pdf_reader import PdfReader, run_child
from kproxy.plugins.source import PluginFailed, Source
from tests.fakes.fetching import fetching
from tests.fakes.hubbed import until
from tests.fakes.pdfs import bomb, drawn, locked, ring, slow, written
from tests.fakes.web import answer, web

LONG = 60.0  # seconds: a busy machine takes its time, and no test waits for it
PARAMS = PdfParams(seconds=LONG)


def given(data):
    return PdfFile("a.pdf", base64.b64encode(data).decode())


async def read(data, **limits):
    return await PdfReader(None, PdfParams(**{"seconds": LONG, **limits})).read(given(data))


async def failure(data, **limits):
    with pytest.raises(PluginFailed) as caught:
        await read(data, **limits)
    return caught.value.reason


async def test_a_file_becomes_a_source():
    text = "[page 1]\nOne\n\n[page 2]\nTwo"
    assert await read(written("One", "Two")) == Source("a.pdf", "", text)


async def test_what_is_left_out_is_said():
    source = await read(written("One", "Two", "Three"), pages=2)
    assert source.text.endswith("Two\n\n[pages after 2 of 3 were left out]")
    source = await read(written("x" * 101), text=100)
    assert source.text.endswith("x\n\n[the rest of page 1 was left out]")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (locked("One", "secret"), "encrypted"),
        (drawn(), "no text"),
        (b"%PDF-1.7 nothing", "broken"),
        (b"GIF89a", "not a PDF"),
        (ring(), "broken"),
    ],
)
async def test_what_cannot_be_read_is_said(data, reason):
    assert reason in await failure(data)


async def test_data_that_is_no_base64():
    for text in ("JVBERi#", "JVBERiä", "J"):
        with pytest.raises(PluginFailed, match="base64"):
            await PdfReader(None, PARAMS).read(PdfFile("a.pdf", text))


async def test_a_file_at_the_limit_and_one_more():
    data = written("One")
    assert (await read(data, size=len(data))).text == "[page 1]\nOne"
    size = len(data) - 3
    assert f"over the limit of {size} bytes" in await failure(data, size=size)


SMALL = 128 << 20  # bytes: what the configuration allows at least


async def test_a_bomb_is_stopped_before_it_needs_the_memory():
    assert "unpacks" in await failure(bomb(120), memory=SMALL)


async def test_what_takes_too_much_memory_is_stopped():
    assert await read(written("One"), memory=SMALL)
    assert "memory" in await failure(written("One") + bytes(60 << 20), memory=SMALL, size=100 << 20)


async def test_what_takes_too_long_is_killed():
    assert await failure(slow(), seconds=0.5) == "pdf: took longer than 0.5 seconds"


async def test_a_processor_limit_ends_a_child_whose_parent_forgot_it():
    limits = '{"memory": 1000000000, "processor": 1, "pages": 1, "text": 100, "encoded": false}'
    assert await run_child(limits, slow(), 1_000) == b""


@pytest.fixture
def played(monkeypatch, tmp_path):
    """A child with other words; it writes its pid to a file."""

    def play(words):
        script = tmp_path / "child.py"
        pid = tmp_path / "pid"
        script.write_text(
            f"import os, sys\nopen({str(pid)!r}, 'w').write(str(os.getpid()))\n{words}"
        )
        monkeypatch.setattr(pdf_reader, "CHILD", script)
        return pid

    return play


def gone(pid):
    try:
        os.kill(int(pid.read_text()), 0)
    except ProcessLookupError:
        return True
    return False


FOREVER = "sys.stdin.buffer.read()\nsys.stdin = None\nwhile True: pass"


async def test_cancelled_no_child_is_left(played):
    pid = played(FOREVER)
    async with trio.open_nursery() as nursery:
        reader = PdfReader(None, PARAMS)
        nursery.start_soon(reader.read, given(written("One")))
        await until(lambda: pid.exists() and pid.read_text())
        assert not gone(pid)
        assert repr(reader) == "<PdfReader 1 of 2 reading>"
        nursery.cancel_scope.cancel()
    assert gone(pid)


async def test_a_child_that_says_too_much_is_cut_and_killed(played):
    pid = played("while True: sys.stdout.write('x' * 10_000)")
    assert await run_child("{}", b"", 5_000) == b"x" * 5_000
    assert gone(pid)


async def test_a_child_that_hears_nothing_is_not_waited_for(played):
    pid = played("os.close(0)\nprint('heard enough', end='')")
    assert await run_child("{}", bytes(1_000_000), 5_000) == b"heard enough"
    assert gone(pid)


@pytest.mark.parametrize("words", ["os.abort()", "print('[]')", "print('nonsense')", ""])
async def test_a_child_that_says_nothing_sensible(played, words):
    played(words)
    assert "gave up" in await failure(written("One"))


async def test_a_reason_that_nobody_knows_is_a_broken_file(played):
    played("""print('{"error": "<b>injected"}')""")
    assert await failure(written("One")) == "pdf: the file is broken"


async def test_a_child_has_nothing_of_ours(played, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    played("print(dict(os.environ), os.getcwd(), sorted(os.listdir('/proc/self/fd'))[:5], end='')")
    said = (await run_child("{}", b"", 5_000)).decode()
    assert "canary" not in said
    assert " / ['0', '1', '2', '3']" in said  # the last one is the listing itself


async def test_only_so_many_children_at_one_time(played):
    played(FOREVER)
    reader = PdfReader(None, PdfParams(seconds=LONG, children=1))
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(reader.read, given(written("One")))
        await until(lambda: repr(reader) == "<PdfReader 1 of 1 reading>")
        await trio.testing.wait_all_tasks_blocked()
        assert repr(reader) == "<PdfReader 1 of 1 reading>"
        nursery.cancel_scope.cancel()


@pytest.mark.loopback
async def test_a_file_at_an_address_is_fetched_guarded():
    async with fetching() as (fetcher, internet), web() as server:
        internet.has("files.example", "93.184.216.34", server.port)
        server.says("/a.pdf", answer(written("One"), kind="application/pdf"))
        reader = PdfReader(fetcher, PARAMS)
        source = await reader.read(PdfFile("a.pdf", url="http://files.example/a.pdf"))
        assert source == Source("a.pdf", "http://files.example/a.pdf", "[page 1]\nOne")
        for url in (f"{server.url}/a.pdf", "http://localhost/a.pdf", "http://[::1]/a.pdf"):
            with pytest.raises(PluginFailed):
                await reader.read(PdfFile("a.pdf", url=url))
        assert server.connections == 1
        with pytest.raises(PluginFailed, match="404"):
            await reader.read(PdfFile("a.pdf", url="http://files.example/b.pdf"))


async def test_addresses_can_be_switched_off():
    reader = PdfReader(None, PdfParams(fetch=False))
    with pytest.raises(PluginFailed, match="not fetched"):
        await reader.read(PdfFile("a.pdf", url="http://files.example/a.pdf"))

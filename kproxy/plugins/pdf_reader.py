"""A PDF file of a message in, its text with page marks out, as a `Source`.

Problem: reading a PDF means running a large parser on bytes that somebody chose. It can take all
memory, or for ever, and in this process either would be everybody's. The obvious way, a thread
with a time-out, stops neither. Our way:

1. Each file is read by a child process of its own (`pdf_child.py`), used once, with limits on
   memory and processor time that it sets before it reads anything, an empty environment, and no
   file that it could write.
2. The parent bounds what it sends and what it takes back, and kills the child when the time is
   over, when the request is cancelled, or when it says too much. So at most `children` are there.
3. The data goes over as it came, in base64, and is decoded in the child: decoding 32 MiB would
   hold the event loop.
"""

import subprocess
import sys
from pathlib import Path

import msgspec
import trio

from kproxy.plugins.params import PdfParams
from kproxy.plugins.pdf_file import PdfFile
from kproxy.plugins.source import PluginFailed, Source, check_status, web_url
from kproxy.transport.fetch import Budget, Fetcher, Unfetched

__all__ = ["PdfReader"]

CHILD = Path(__file__).with_name("pdf_child.py")
REAP = 5.0  # seconds for the kernel to take away a child that was killed

REASONS = {
    "base64": "pdf: data that is not in base64",
    "no pdf": "pdf: the file is not a PDF",
    "no pypdf": "pdf: the reader is not installed (pip install 'kproxy[pdf]')",
    "encrypted": "pdf: the file is encrypted",
    "bomb": "pdf: the file unpacks to more than it may",
    "memory": "pdf: the file needs more than {} MiB of memory",
    "broken": "pdf: the file is broken",
}


class Limits(msgspec.Struct, frozen=True):
    """What the child is told; see there."""

    memory: int
    processor: int
    pages: int
    text: int
    encoded: bool


class _Said(msgspec.Struct, frozen=True):
    error: str = ""
    pages: int = 0
    read: int = 0
    text: str = ""
    cut: bool = False


_SAID = msgspec.json.Decoder(_Said)


class PdfReader:
    """Reads files, a few at a time. Any number of tasks may use one."""

    def __init__(self, fetcher: Fetcher, params: PdfParams) -> None:
        self._fetcher = fetcher
        self._params = params
        self._turn = trio.CapacityLimiter(params.children)

    def __repr__(self) -> str:
        return f"<PdfReader {self._turn.borrowed_tokens} of {self._params.children} reading>"

    async def read(self, file: PdfFile) -> Source:
        """The text of a file. Raises PluginFailed. Cancelled, it leaves no child behind."""
        with trio.move_on_after(self._params.seconds):
            data, encoded = await self._load(file)
            async with self._turn:
                said = await self._extract(data, encoded)
            return Source(file.name, web_url(file.url), _text(said))
        raise PluginFailed(f"pdf: took longer than {self._params.seconds:g} seconds")

    async def _load(self, file: PdfFile) -> tuple[bytes, bool]:
        params = self._params
        if not file.url:
            if len(file.base64) // 4 * 3 > params.size + 2:
                raise PluginFailed(f"pdf: the file is over the limit of {params.size} bytes")
            return file.base64.encode("ascii", "replace"), True
        if not params.fetch:
            raise PluginFailed("pdf: files are not fetched here")
        try:
            answer = await self._fetcher.fetch(file.url, Budget(params.size, params.seconds))
        except Unfetched as error:
            most = f" of {params.size} bytes" if error.reason == "over the limit" else ""
            raise PluginFailed(f"pdf: {error.reason}{most}") from error
        check_status(answer.status, "pdf: the file's server")
        return answer.body, False

    async def _extract(self, data: bytes, encoded: bool) -> _Said:
        params = self._params
        processor = int(params.seconds) + 1
        limits = Limits(params.memory, processor, params.pages, params.text, encoded)
        # One character is at most 12 bytes of JSON, and every page has its mark.
        most = 12 * params.text + 20 * params.pages + 1_000
        try:
            said = _SAID.decode(await run_child(msgspec.json.encode(limits).decode(), data, most))
        except msgspec.MsgspecError as error:  # killed by a limit, or by what it read
            raise PluginFailed("pdf: the reader gave up on the file") from error
        if said.error:
            reason = REASONS.get(said.error, REASONS["broken"])
            raise PluginFailed(reason.format(params.memory >> 20))
        if not said.text:
            raise PluginFailed("pdf: the file has no text (scanned pages?)")
        return said


async def run_child(limits: str, data: bytes, most: int) -> bytes:
    """What a new child says to `data`, up to `most` bytes: one byte more and it is cut there.

    The child is gone when this returns or raises.
    """
    process = await trio.lowlevel.open_process(
        [sys.executable, "-I", str(CHILD), limits],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={},
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    said = bytearray()
    try:
        async with process.stdin, process.stdout, trio.open_nursery() as nursery:
            nursery.start_soon(_feed, process.stdin, data)
            async for piece in process.stdout:
                said += piece
                if len(said) > most:
                    break
            nursery.cancel_scope.cancel()  # it may have ended without having read everything
    finally:
        process.kill()
        with trio.move_on_after(REAP, shield=True):
            await process.wait()
    return bytes(said[:most])


async def _feed(stream: trio.abc.SendStream, data: bytes) -> None:
    try:
        await stream.send_all(data)
        await stream.aclose()
    except trio.BrokenResourceError:
        pass  # what it says, or that it says nothing, tells more


def _text(said: _Said) -> str:
    if not said.cut:
        return said.text
    if said.read < said.pages:
        return f"{said.text}\n\n[pages after {said.read} of {said.pages} were left out]"
    return f"{said.text}\n\n[the rest of page {said.read} was left out]"

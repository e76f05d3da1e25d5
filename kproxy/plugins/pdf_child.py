"""Runs by itself, as a child process: a PDF on standard input, its text as JSON on standard output.

Arguments: a JSON object of limits (`Limits` of `pdf_reader.py`: bytes of memory, seconds of
processor, pages, characters) and whether the input is base64. Out, exactly one of

    {"pages": 12, "read": 10, "text": "[page 1]\\n...", "cut": true}
    {"error": "encrypted"}

PDF readers are where formats of thirty years meet, and pypdf has had bombs and endless loops in
each of them. So it lives in a process that has limits before it has read a byte, that can write to
no file, and that somebody else kills when its time is over. Nothing of kproxy is imported here.
"""

import base64
import io
import json
import logging
import resource
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pypdf

__all__ = ["extract", "main"]

HEADER = 1_024  # bytes in which readers look for %PDF-

INFLATED = 16 * 1024 * 1024
"""Bytes that one stream may unpack to. pypdf allows 75 MB, and the memory for it; a page's text
takes kilobytes, the table of objects of a large file some megabytes."""


def main(arguments: list[str]) -> None:
    """See above. What cannot be said in time or in memory is not said: the parent sees an end."""
    limits = json.loads(arguments[0])
    confine(limits["memory"], limits["processor"])
    try:
        said = extract(sys.stdin.buffer.read(), limits)
    except MemoryError:
        said = {"error": "memory"}
    except RecursionError:
        said = {"error": "broken"}
    sys.stdout.buffer.write(json.dumps(said).encode("utf-8", "replace"))


def confine(memory: int, processor: int) -> None:
    """Give up what reading does not need."""
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (processor, processor))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def extract(data: bytes, limits: dict[str, int]) -> dict[str, object]:
    """The text of the first pages, each behind its mark, or what is wrong."""
    if limits["encoded"]:
        try:
            data = base64.b64decode(data, validate=True)
        except ValueError:
            return {"error": "base64"}
    if b"%PDF-" not in data[:HEADER]:
        return {"error": "no pdf"}
    try:
        import pypdf
        from pypdf.errors import DependencyError, FileNotDecryptedError, LimitReachedError
    except ImportError:
        return {"error": "no pypdf"}
    logging.disable()  # its warnings quote the file
    filters = ("array_based_stream", "brotli", "lzw", "run_length", "zlib")
    bounds: dict[str, Any] = {f"{name}_maximum_output_length": INFLATED for name in filters}
    try:
        with pypdf.apply_configuration(**bounds, jbig2dec_binary=None):
            reader = pypdf.PdfReader(io.BytesIO(data))
            if reader.is_encrypted and not reader.decrypt(""):
                return {"error": "encrypted"}
            return _read(reader, limits["pages"], limits["text"])
    except (FileNotDecryptedError, DependencyError):
        return {"error": "encrypted"}
    except LimitReachedError:
        return {"error": "bomb"}
    except (MemoryError, RecursionError):
        raise
    except Exception:  # pypdf: "broken PDF files might cause other exceptions"
        return {"error": "broken"}


def _read(reader: "pypdf.PdfReader", pages: int, limit: int) -> dict[str, object]:
    there = len(reader.pages)
    marked: list[str] = []
    size = read = 0
    for number in range(min(there, pages)):
        text = reader.pages[number].extract_text().strip()
        marked.append(f"[page {number + 1}]\n{text[: limit - size]}")
        size += len(text)
        read += bool(text)
        if size > limit:
            break
    whole = len(marked) == there and size <= limit
    text = "\n\n".join(marked) if read else ""
    return {"pages": there, "read": len(marked), "text": text, "cut": not whole}


if __name__ == "__main__":
    main(sys.argv[1:])

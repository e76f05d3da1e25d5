"""The file of a router in, the `Router` out.

The packaged file is mapped, not read: of its 3.7 MB only what prompts ask for is ever in memory,
and all workers of a machine share that. A package manager replaces a file and never writes into it,
as with the shared libraries beside it. An operator's own file is read: whoever wrote over a mapped
file would end the process (SIGBUS).
"""

import mmap
from pathlib import Path

from kproxy import routing
from kproxy.routing.router import Router, load

__all__ = ["load_packaged_router", "read_router"]


def load_packaged_router() -> Router:
    """The router that is part of the package."""
    path = Path(routing.__path__[0]) / "router.bin"
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    router = load(memoryview(mapped))
    mapped.madvise(mmap.MADV_DONTNEED)  # to check it, all of it was looked at
    return router


def read_router(path: Path) -> Router:
    """An operator's own. Raises OSError, and ArtefactError."""
    return load(path.read_bytes())

"""Plugins reach the network through `kproxy.transport.fetch` and in no other way.

What a plugin fetches was named by a caller, a model or a web page, so whatever went round the guard
there would be a way inside. The imports of every plugin are walked, wherever they stand, and so are
those of the child processes that plugins start.
"""

import ast
from collections.abc import Iterator

import pytest

from tests.arch.rule import code
from tests.arch.tree import Source, sources

ALLOWED = "kproxy.transport.fetch"
# Whatever can open a connection or look up a name by itself.
NETWORK = (
    "kproxy.transport", "kproxy.upstream", "kproxy.downstream", "httpcore", "httpx", "h11", "h2",
    "http", "urllib.request", "urllib3", "requests", "aiohttp", "socket", "socketserver", "ssl",
    "asyncio", "ftplib", "smtplib", "imaplib", "poplib", "telnetlib", "xmlrpc", "wsgiref",
    "trio.socket", "anyio.connect_tcp", "webbrowser", "multiprocessing.connection",
)  # fmt: skip
# As attributes of modules that are imported for other reasons.
CALLS = (
    "trio.socket", "trio.open_tcp_stream", "trio.open_ssl_over_tcp_stream", "trio.SSLStream",
    "trio.open_tcp_listeners", "trio.serve_tcp", "trio.open_unix_socket", "anyio.connect_tcp",
    "anyio.connect_unix", "anyio.getaddrinfo", "urllib.request",
)  # fmt: skip
# Modules that hold sockets for another reason, each with it.
EXEMPT: dict[str, str] = {
    "kproxy/plugins/confine.py": "tries, in the sandbox's child, whether a socket is refused",
}


def imports(source: Source) -> Iterator[tuple[int, str]]:
    """Every imported name in full, with its line."""
    for node in source.nodes:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            prefix = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{prefix}.{alias.name}") for alias in node.names)


def inside(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def ways_round(source: Source) -> list[str]:
    """`path:line: name` of each import or use that could reach the network by itself."""
    found = [
        (line, name)
        for line, name in imports(source)
        if (inside(name, NETWORK) and not inside(name, (ALLOWED,))) or name.startswith(".")
    ]
    for node in source.nodes:
        if isinstance(node, ast.Attribute) and source.dotted(node) in CALLS:
            found.append((node.lineno, source.dotted(node)))
        if isinstance(node, ast.Call) and source.dotted(node.func) in (
            "__import__", "importlib.import_module",
        ):  # fmt: skip
            found.append((node.lineno, "an import that cannot be read"))
    return [f"{source.path}:{line}: {name}" for line, name in sorted(set(found))]


PLUGINS = [source for source in sources("kproxy") if source.under("kproxy/plugins")]


def test_no_plugin_goes_round_the_guard() -> None:
    assert {"kproxy/plugins/pdf_reader.py", "kproxy/plugins/web_search.py"} <= {
        source.path for source in PLUGINS
    }
    assert [way for s in PLUGINS if s.path not in EXEMPT for way in ways_round(s)] == []


def test_exemptions_are_used() -> None:
    needed = {source.path for source in PLUGINS if ways_round(source)}
    assert set(EXEMPT) <= needed, "they need none any more: take them off the list"


@pytest.mark.parametrize(
    "text",
    [
        "import socket",
        "import httpcore",
        "from http.client import HTTPSConnection",
        "import urllib.request",
        "from urllib import request",
        "def f():\n    import ssl",
        "from kproxy.transport.dial import dialler",
        "from kproxy.transport import dial",
        "from kproxy import transport",
        "import kproxy.transport.link",
        "from kproxy.upstream import attempt",
        "import trio\ntrio.open_tcp_stream('a', 1)",
        "import trio as t\nt.socket.socket()",
        "from trio import socket",
        "from .. import transport",
        "import importlib\nimportlib.import_module('socket')",
        "__import__('socket')",
    ],
)
def test_a_way_round_is_found(text: str) -> None:
    assert ways_round(code(text, at="kproxy/plugins/example.py"))


@pytest.mark.parametrize(
    "text",
    [
        "from kproxy.transport.fetch import Fetcher",
        "from urllib.parse import urlencode",
        "import trio\ntrio.to_thread.run_sync(print)",
        "from kproxy.admission.keys import Secret",
    ],
)
def test_what_passes(text: str) -> None:
    assert ways_round(code(text, at="kproxy/plugins/example.py")) == []

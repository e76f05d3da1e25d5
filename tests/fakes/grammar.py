"""Messages near the grammar of HTTP/1.1, for two readers to be held against each other.

Most are valid, many are wrong in one place or two: there readers differ. `MANY` examples are a few
hundred, and as many as HYPOTHESIS_PROFILE says where that is more:

    HYPOTHESIS_PROFILE=vast pytest --timeout 0 tests/wire/test_h1_differential.py
"""

from hypothesis import settings
from hypothesis import strategies as st

__all__ = ["MANY", "chunked", "conversations", "mutated", "responses"]

MANY = settings(max_examples=max(300, settings.default.max_examples))

SCRAPS = st.one_of(
    st.sampled_from(
        [
            b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\n\n", b" ", b"\t", b"\r\n ", b"\x00", b"\x0b",
            b"\x7f", b"\x80", b":", b",", b";", b'"', b"%", b"#", b"@", b"0", b"1", b"f", b"+1",
            b"chunked", b", chunked", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n",
            b"Connection: close\r\n", b"Host: b\r\n", b"HTTP/1.0", b"0\r\n\r\n", b"\xef\xbb\xbf",
        ]
    ),
    st.binary(max_size=3),
)  # fmt: skip

token = st.sampled_from(
    [b"GET", b"POST", b"HEAD", b"OPTIONS", b"DELETE", b"get", b"M-SEARCH", b"!"]
)
targets = st.sampled_from(
    [
        *[b"/", b"/v1/x?y=%20", b"/a/b", b"http://b/c"] * 4, b"/v1/models?limit=1", b"/%41", b"//a",
        b"*", b"http://b", b"HTTPS://b:1/c?d", b"/a{", b"/%", b"a:80", b"http://u@b/", b"/?/?",
        b"/" + b"a" * 40,
    ],
)  # fmt: skip
versions = st.sampled_from(
    [b"HTTP/1.1"] * 20 + [b"HTTP/1.0"] * 3 + [b"HTTP/1.0", b"HTTP/1.2", b"http/1.1"]
)
hosts = st.sampled_from(
    [*[b"Host: a", b"host:\tA.b:80", b"HOST: [::1]"] * 6, b"Host: a, b", b"X: y", b"Host: a:99999"]
)
others = st.sampled_from(
    [
        *[b"Accept: */*", b"User-Agent: a/1 (b; c)", b"X-Stainless-OS: Linux"] * 6,
        b"Connection: close", b"Connection: keep-alive", b"Connection: x,, Close", b"Upgrade: h2c",
        b"connection: upgrade", b"Expect: 100-continue", b"Expect: , 100-Continue", b"Expect: x",
        b"X: \xff y", b"X:", b"x-A:  b\t", b"Content-Encoding: gzip", b"TE: trailers",
        b"Via: 1.1 a", b"Keep-Alive: 5", b"Trailer: X", b"Date: now", b"If-Match: *",
        b"Accept: */*", b"Bad Name: x",
    ],
)  # fmt: skip
lengths = st.sampled_from([*[b"%d"] * 16, b"0%d", b" %d ", b"+%d", b"%d, %d", b"%d;"])
codings = st.sampled_from(
    [b"chunked"] * 6
    + [b"Chunked", b"gzip, chunked", b"chunked, chunked", b"identity", b", chunked"]
)
extensions = st.sampled_from([*[b""] * 12, b";a", b' ; a = "b\\";c"', b";a=b;c", b";", b";a b"])
trailers = st.sampled_from([*[b""] * 4, b"X: y\r\n", b"Content-Length: 9\r\nX:\r\n", b"X : y\r\n"])
SIZES = [*[b"%x", b"%X", b"%04x"] * 6, b"%017x", b"%x "]
payloads = st.one_of(st.binary(max_size=12), st.sampled_from([b"0\r\n\r\n", b"GET / HTTP/1.1\r\n"]))


@st.composite
def mutated(draw: st.DrawFn, wires: st.SearchStrategy[bytes]) -> bytes:
    """One of `wires`, half of them with something put in, taken out, exchanged or said twice."""
    wire = draw(wires)
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        at = draw(st.integers(0, len(wire)))
        size = draw(st.sampled_from([0, 0, 1, 2, 10]))
        part = draw(st.one_of(SCRAPS, st.just(wire[at : at + size])))
        wire = wire[:at] + part + wire[at + draw(st.sampled_from([0, 0, 1, size])) :]
    return wire


@st.composite
def chunked(draw: st.DrawFn) -> bytes:
    """A body in chunks."""
    wire = b""
    for piece in draw(st.lists(payloads.filter(bool), max_size=4)):
        size = draw(st.sampled_from(SIZES)) % len(piece)
        wire += size + draw(extensions) + b"\r\n" + piece + b"\r\n"
    last = draw(st.sampled_from([*[b"0", b"000"] * 5, b"0" * 17]))
    return wire + last + draw(extensions) + b"\r\n" + draw(trailers) + b"\r\n"


@st.composite
def framed(draw: st.DrawFn, lines: list[bytes]) -> bytes:
    """Field lines, the framing of a body among them, and the body."""
    kind = draw(st.sampled_from(["none", *["length", "chunked"] * 4, "both"]))
    body = b""
    if kind in ("length", "both"):
        body = draw(payloads)
        value = draw(lengths)
        lines = [*lines, b"Content-Length: " + value.replace(b"%d", b"%d" % len(body))]
    if kind in ("chunked", "both"):
        body = draw(chunked())
        lines = [*lines, b"Transfer-Encoding: " + draw(codings)]
    order = draw(st.permutations(lines))
    return b"".join(line + b"\r\n" for line in order) + b"\r\n" + body


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """One request."""
    line = b" ".join([draw(token), draw(targets), draw(versions)]) + b"\r\n"
    lines = [draw(hosts), *draw(st.lists(others, max_size=3))]
    return draw(st.sampled_from([b"", b"", b"", b"\r\n"])) + line + draw(framed(lines))


def conversations() -> st.SearchStrategy[bytes]:
    """Requests one behind the other."""
    return mutated(st.lists(requests(), min_size=1, max_size=3).map(b"".join))


statuses = st.sampled_from([*[b"200"] * 6, b"404", b"204", b"304", b"500", b"599", b"999", b"20"])
reasons = st.sampled_from([b" OK", b" ", b"", b" N\xf6", b" Not  Found"])
hints = st.sampled_from(
    [b""] * 6
    + [
        b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 100 \r\nContent-Length: 5\r\n\r\n",
    ]
)  # fmt: skip


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """One response, with what comes before it."""
    version = draw(st.sampled_from([b"HTTP/1.1"] * 12 + [b"HTTP/1.0"] * 3 + [b"HTTP/2.0"]))
    line = version + b" " + draw(statuses) + draw(reasons) + b"\r\n"
    return draw(hints) + line + draw(framed(draw(st.lists(others, max_size=3))))


def responses() -> st.SearchStrategy[bytes]:
    """A response, maybe with bytes behind its end."""
    return mutated(
        st.tuples(answers(), st.sampled_from([b"", b"", b"x", b"HTTP/1.1 200"])).map(b"".join)
    )

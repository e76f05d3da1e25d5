"""A caller without a library: any bytes to a server, and exactly what came back.

In: an address and a key. Out: `Answer` values. One connection, so that a test can see whether it
is kept. Blocking, with a deadline on every read.
"""

import http.client
import json
import re
import socket
from dataclasses import dataclass
from typing import Any, Self

__all__ = ["PATIENCE", "Answer", "Begun", "Caller", "chat", "request"]

PATIENCE = 20.0
LINE_END = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True)
class Answer:
    """One response. `whole`: its framing was complete."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool = True

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error object, checked to have OpenAI's shape."""
        error: dict[str, Any] = self.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert isinstance(error["message"], str)
        assert isinstance(error["type"], str)
        return error

    @property
    def data(self) -> list[str]:
        """The data of every event of a stream, by the letter of the standard (WHATWG HTML 9.2)."""
        text = self.body.decode("utf-8", "replace").removeprefix("\ufeff")
        events, lines = [], []
        for line in LINE_END.split(text):
            name, _, value = line.partition(":")
            if name == "data":
                lines.append(value.removeprefix(" "))
            elif not line and lines:
                events.append("\n".join(lines))
                lines = []
        return events

    @property
    def chunks(self) -> list[Any]:
        """The decoded events of a stream, `[DONE]` left out."""
        return [json.loads(one) for one in self.data if one != "[DONE]"]

    @property
    def text(self) -> str:
        """What the first choice said, streamed or whole."""
        if not self.headers.get("content-type", "").startswith("text/event-stream"):
            return self.json()["choices"][0]["message"]["content"] or ""
        return "".join(
            choice["delta"].get("content") or ""
            for chunk in self.chunks
            for choice in chunk.get("choices", ())
            if choice["index"] == 0
        )


def request(method: str, path: str, *fields: str, body: bytes | None = None) -> bytes:
    """The bytes of a request; with a body comes its length."""
    lines = [f"{method} {path} HTTP/1.1", "host: localhost:4000", *fields]
    if body is not None:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


def chat(**fields: Any) -> bytes:
    """The body of a chat request."""
    usual = {"model": "auto", "messages": [{"role": "user", "content": "Hello!"}]}
    return json.dumps({**usual, **fields}).encode()


class Caller:
    """One connection. Closed by `close` or at the end of `with`."""

    def __init__(self, address: tuple[str, int], key: str = "") -> None:
        self.key = key
        self.socket = socket.create_connection(address, PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self.socket.close()

    @property
    def authorization(self) -> str:
        """The field with this caller's key."""
        return f"authorization: Bearer {self.key}"

    def send(self, data: bytes) -> None:
        """Any bytes. A server may have closed already: what it said can still be read."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return

    def receive(self, method: str = "GET") -> Answer:
        """The next response, as far as it came."""
        response = http.client.HTTPResponse(self.socket, method=method)
        try:
            response.begin()
            headers = {name.lower(): value for name, value in response.getheaders()}
            try:
                return Answer(response.status, headers, response.read())
            except http.client.IncompleteRead as cut:
                return Answer(response.status, headers, cut.partial, whole=False)
        finally:
            response.close()

    def get(self, path: str, *fields: str) -> Answer:
        """GET with the key."""
        self.send(request("GET", path, self.authorization, *fields))
        return self.receive()

    def post(self, body: bytes, *fields: str, path: str = "/v1/chat/completions") -> Answer:
        """POST with the key."""
        self.send(request("POST", path, self.authorization, *fields, body=body))
        return self.receive("POST")

    def ask(self, **fields: Any) -> Answer:
        """A chat request."""
        return self.post(chat(**fields))

    def begin(self, **fields: Any) -> "Begun":
        """A chat request whose answer is read as it comes."""
        self.send(request("POST", "/v1/chat/completions", self.authorization, body=chat(**fields)))
        return Begun(self.socket)

    def closed(self) -> bool:
        """Whether the server has ended the connection; waits for it or for bytes."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True


class Begun:
    """An answer on its way."""

    def __init__(self, sock: socket.socket) -> None:
        self._response = http.client.HTTPResponse(sock, method="POST")
        self._body = b""

    def until(self, wanted: bytes) -> bool:
        """Read until `wanted` is there. False when the answer has ended without."""
        if not self._response.headers:
            self._response.begin()
        while wanted not in self._body:
            more = self._response.read1(65_536)
            if not more:
                return False
            self._body += more
        return True

    def rest(self) -> Answer:
        """All of it, as far as it comes."""
        response = self._response
        headers = {name.lower(): value for name, value in response.getheaders()}
        whole = True
        try:
            self._body += response.read()
        except http.client.IncompleteRead as cut:
            self._body += cut.partial
            whole = False
        response.close()
        return Answer(response.status, headers, self._body, whole)

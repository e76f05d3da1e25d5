"""A kproxy in front of one simulated provider that it speaks to in both dialects, for clients.

Out: model names `openai` and `anthropic` for the two ways; `with_fault`, which names the same way
with a fault in it; and `broken-openai` and `broken-anthropic`, which fall silent after three tokens
and are given up then. However slow the machine is, those tokens have been read before.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fakes.server import Served, Simulated, serving, simulating

__all__ = ["DIALECTS", "HELLO", "PIXEL", "SCHEMA", "TOOLS", "Both", "both", "with_fault"]

DIALECTS = ("openai", "anthropic")
HELLO: list[Any] = [{"role": "user", "content": "Hello!"}]

PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60"
    "e6kgAAAABJRU5ErkJggg=="
)

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"answer": {"type": "string"}, "size": {"type": "integer"}},
    "required": ["answer", "size"],
    "additionalProperties": False,
}


def _tool(name: str, **properties: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


TOOLS: list[Any] = [_tool("get_weather", city={"type": "string"}), _tool("get_time")]


@dataclass(frozen=True)
class Both:
    """The two processes."""

    server: Served
    sim: Simulated

    @property
    def base_url(self) -> str:
        """For a client."""
        return f"{self.server.url}/v1"

    @property
    def key(self) -> str:
        """For a client."""
        return self.server.key


def with_fault(dialect: str, fault: str) -> str:
    """The name of a model that fails so, reached in that dialect."""
    return f"by-{dialect}/m!{fault}"


@contextmanager
def both(folder: Path, config: str = "") -> Iterator[Both]:
    """Real processes, real sockets; at the end nothing of them is left. `config`: more tables."""
    with simulating(folder / "sim") as sim:
        tables = [
            f'[providers.by-{dialect}]\ndialect = "{dialect}"\nbase_url = "{sim.base_url}"\n'
            f'models = "any"\n[[models]]\nid = "{dialect}"\nprovider = "by-{dialect}"\n'
            "price = { input = 1, output = 2 }\n"
            f'[[models]]\nid = "broken-{dialect}"\nprovider = "by-{dialect}"\n'
            'upstream = "m!stall=3,600"\nprice = { input = 1, output = 2 }\n'
            "timeouts = { gap = 0.3 }\n"
            for dialect in DIALECTS
        ]
        with serving(folder / "front", "".join(tables) + config) as server:
            yield Both(server, sim)

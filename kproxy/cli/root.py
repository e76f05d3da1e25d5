"""The group `kproxy`: finds a command, runs it, turns a refusal into one line and status 1.

A command's module is imported when the command is asked for, so `kproxy --version` and the key
commands never pay for the server.
"""

import importlib
from types import MappingProxyType

import click

from kproxy import __version__
from kproxy.errors import KproxyError, refusal_in

__all__ = ["Commands", "kproxy"]

_MODULES = MappingProxyType(
    {
        "serve": "kproxy.cli.serve",
        "sim": "kproxy.cli.sim",
        "keys": "kproxy.cli.keys",
        "accounts": "kproxy.cli.accounts",
        "check": "kproxy.cli.check",
        "explain": "kproxy.cli.explain",
        "usage": "kproxy.cli.usage",
        "router": "kproxy.cli.router",
    }
)


class Commands(click.Group):
    """A group whose commands live in a module each, under the command's own name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, in the order a newcomer meets them."""
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command, or None."""
        module = _MODULES.get(cmd_name)
        if module is None:
            return None
        command = getattr(importlib.import_module(module), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; what kproxy refuses on purpose is printed, anything else is a bug."""
        try:
            return super().invoke(ctx)
        except KproxyError as error:
            raise click.ClickException(_one_line(error)) from error
        except ExceptionGroup as group:
            refused = refusal_in(group)
            if refused is None:
                raise
            raise click.ClickException(_one_line(refused)) from group


@click.group(cls=Commands)
@click.version_option(__version__, message="kproxy %(version)s")
def kproxy() -> None:
    """A self-hosted, OpenAI-compatible routing proxy for language models."""


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())

"""Two configurations in, the running one and the one that is wanted; the one that can be had out.

What is bound to something that lives as long as the process stays as it is, and is named: a socket,
a file that is open, who may call at all. All else may change while requests run.
"""

import dataclasses
from types import MappingProxyType

from kproxy.config.load import Config

__all__ = ["FIXED", "differing", "settle"]

FIXED = MappingProxyType(
    {
        "listeners": "listen and [[listeners]]",
        "data_dir": "data_dir",
        "auth": "auth",
        "seal_key": "KPROXY_SEAL_KEY",
        "strict_ledger": "ledger",
        "workers": "workers",
        "plugins": "[plugins]",
        "access_log": "[log] access",
        "otlp": "[telemetry.otel]",
        "sim": "[sim]",
    }
)
"""Fields of `Config` that need a restart, and what an operator calls them."""


def settle(running: Config, wanted: Config) -> tuple[Config, tuple[str, ...]]:
    """What can be in force without a restart, and the names of what would need one.

    The first is equal to `running` where nothing that can change has changed.
    """
    kept = {name: getattr(running, name) for name in FIXED}
    waiting = tuple(name for name, value in kept.items() if getattr(wanted, name) != value)
    if wanted.router.version == running.router.version:  # of the same bytes, the same router
        kept["router"] = running.router
    return dataclasses.replace(wanted, **kept), tuple(FIXED[name] for name in waiting)


def differing(running: Config, wanted: Config) -> tuple[str, ...]:
    """The names of what is not the same in both."""
    names = (one.name for one in dataclasses.fields(Config))
    return tuple(name for name in names if getattr(running, name) != getattr(wanted, name))

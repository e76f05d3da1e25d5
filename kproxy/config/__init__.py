"""The operator's wishes, from flags, environment and file, as one frozen `Config`."""

from kproxy.config.document import ConfigError
from kproxy.config.listeners import Listening
from kproxy.config.load import Config, Overrides, find_data_dir, find_tiers, load
from kproxy.config.model import (
    Address,
    Attempts,
    Limits,
    ModelConfig,
    PriceConfig,
    ProviderConfig,
    SimConfig,
    SystemdAddress,
    Timeouts,
    UnixAddress,
)

__all__ = [
    "Address",
    "Attempts",
    "Config",
    "ConfigError",
    "Limits",
    "Listening",
    "ModelConfig",
    "Overrides",
    "PriceConfig",
    "ProviderConfig",
    "SimConfig",
    "SystemdAddress",
    "Timeouts",
    "UnixAddress",
    "find_data_dir",
    "find_tiers",
    "load",
]

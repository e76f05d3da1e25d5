"""What a bench configures is what its comparison says: limits are on, and too high to be met."""

from pathlib import Path

from bench.configs import Upstream, kproxy_command
from kproxy.config.load import Overrides, load
from kproxy.store.keystore import open_keystore


def test_kproxy_is_measured_with_its_limits_on(tmp_path: Path) -> None:
    command, _ = kproxy_command(tmp_path, {"json": Upstream(9)}, 8080)
    file, data = (Path(command[command.index(flag) + 1]) for flag in ("--config", "--data-dir"))
    settings = load(Overrides(config=file, data_dir=data), {})
    keys = open_keystore(data)
    try:
        account = keys.account("bench")
    finally:
        keys.close()
    assert account is not None
    tier = settings.tiers[account.tier]
    assert tier.rate is not None
    assert tier.rate.per_minute >= 60 * 100_000
    assert tier.tokens_per_month is not None
    assert tier.tokens_per_month > 10**15

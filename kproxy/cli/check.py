"""`kproxy check`: is this configuration good, and if not, which line is wrong."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import click

from kproxy.catalog.quality import PRIOR
from kproxy.cli.options import as_json, config_option, print_json
from kproxy.cli.serve import NO_MODEL
from kproxy.config import Config, ConfigError, Listening, Overrides, load
from kproxy.config.catalog import OPERATOR, build_catalog
from kproxy.config.guardrails import describe_rules
from kproxy.config.otel import describe_traces
from kproxy.config.plugins import describe_plugins, sandbox_lack
from kproxy.config.tiers import describe_tiers
from kproxy.guard.schemas import has_validator

__all__ = ["check"]

HEALING = "checked by schema"
UNCHECKED = "not checked by schema (pip install 'kproxy[heal]')"
"""What healed JSON is, beside well-formed."""


@click.command()
@config_option
@as_json
@click.pass_context
def check(context: click.Context, *, config: Path | None, json: bool) -> None:
    """Check the configuration that `serve` would use, and start nothing."""
    try:
        loaded = load(Overrides(config=config), os.environ)
        lack = _sandbox_lack(loaded)
    except ConfigError as error:
        if not json:
            raise
        print_json(
            {
                "ok": False,
                "error": error.reason,
                "file": None if error.file is None else str(error.file),
                "line": error.line,
                "path": error.path,
            }
        )
        context.exit(1)
    summary = _summary(loaded, lack)
    if json:
        print_json({"ok": True, **summary})
        return
    for name, value in summary.items():
        text = ", ".join(value) if isinstance(value, list) else value
        click.echo(f"{name.replace('_', ' ') + ':':<10} {text}")


def _summary(config: Config, lack: str | None) -> dict[str, str | list[str]]:
    models = build_catalog(config).models
    passing = [slug for slug, given in config.providers.items() if given.models == "any"]
    names = [model.key for model in models if model.enabled]
    names += [f"{slug}/<any name>" for slug in passing]
    summary: dict[str, str | list[str]] = {
        "file": "none" if config.source is None else str(config.source),
        "listen": [_describe(one) for one in config.listeners],
        "data_dir": str(config.data_dir),
        "providers": [
            f"{slug} ({provider.base_url or 'simulated'})"
            for slug, provider in config.providers.items()
        ],
        "models": names or [NO_MODEL],
        "quality": _qualities(model.quality_source for model in models if model.enabled),
        "routing": _routing(config),
        "plugins": _plugins(config, lack),
        "healing": HEALING if has_validator() else UNCHECKED,
    }
    rules, traces = describe_rules(config.guardrails), describe_traces(config.otlp)
    more = {
        "tiers": describe_tiers(config.tiers),
        "guardrails": rules,
        "traces": traces,
        "warnings": _warnings(config, os.environ),
    }
    return summary | {name: told for name, told in more.items() if told}


def _warnings(config: Config, environ: Mapping[str, str]) -> list[str]:
    """What is no error and will not do what it seems to."""
    named = environ.get("SSL_CERT_FILE")
    secure = any(
        (one.base_url or "").lower().startswith("https:") for one in config.providers.values()
    )
    if named is None or not secure or Path(named).is_file():
        return []
    # OpenSSL goes on without it and says nothing, until no certificate can be verified.
    return [f"SSL_CERT_FILE names {named or 'nothing'}, and there is no such file to trust"]


def _sandbox_lack(config: Config) -> str | None:
    """Why code-exec has no sandbox here. Raises ConfigError where the operator insists on one."""
    lack = sandbox_lack(config.plugins.code_exec, config.data_dir)
    if lack is not None and config.plugins.code_exec.enabled:
        raise ConfigError(lack, file=config.source, path="plugins.code-exec.enabled")
    return lack


def _plugins(config: Config, lack: str | None) -> list[str]:
    told = describe_plugins(config.plugins, lack)
    return [f"{name} ({how})" for name, how in told.items()] or ["none"]


def _routing(config: Config) -> list[str]:
    """How `auto` chooses, and which prices nobody has said."""
    given = config.routing
    told = [f"dial {given.dial}", f"router {config.router.version}"]
    told += [f"at least {least:g} in {people}" for people, least in given.floors.items()]
    models = build_catalog(config).models
    unpriced = [model.key for model in models if model.enabled and model.price is None]
    return [*told, *(f"{key} has no price" for key in unpriced)]


def _qualities(sources: Iterable[str]) -> list[str]:
    """How many models each kind of source speaks for; what nobody judges is taken for middling."""
    counts = Counter(map(_kind, sources))
    return [f"{count} {kind}" for kind, count in counts.items()] or ["none"]


def _kind(source: str) -> str:
    named = {OPERATOR: "the operator's", PRIOR: "by list price", "": "unknown"}
    return named.get(source) or f"{'partly ' if PRIOR in source else ''}by published scores"


def _describe(one: Listening) -> str:
    marks = []
    if one.tls is not None:
        asked = "required" if one.tls.client_required else "optional"
        marks.append("TLS" if one.tls.client_ca is None else f"TLS, client certificate {asked}")
    senders = [*map(str, one.proxies), *(["unix"] if one.unix_proxy else [])]
    if senders:
        marks.append(f"PROXY from {', '.join(senders)}")
    if one.admin:
        marks.append("admin")
    return f"{one.place} ({'; '.join(marks)})" if marks else str(one.place)

"""Flags, environment and a file in, one frozen `Config` out.

Flags come before the environment, that before the file, that before the defaults (contract
section 12). The first thing that is wrong is raised as a ConfigError of one line that says where.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from kproxy.admission.keys import Secret
from kproxy.admission.tiers import Tier
from kproxy.catalog.load import Catalog, load_packaged, parse_catalog
from kproxy.config.artefacts import load_packaged_router, read_router
from kproxy.config.checks import check_model
from kproxy.config.code_exec import check_code_exec
from kproxy.config.convert import convert
from kproxy.config.document import ConfigError, Document, PlacedError
from kproxy.config.guardrails import check_guardrails
from kproxy.config.listeners import Listening, build_listeners, check_auth, listen_texts
from kproxy.config.model import (
    Attempts,
    FileConfig,
    GuardrailsConfig,
    Limits,
    ListenerConfig,
    ModelConfig,
    PluginsConfig,
    ProviderConfig,
    RoutingConfig,
    SimConfig,
    Timeouts,
)
from kproxy.config.otel import otlp_params
from kproxy.config.plugins import check_plugins
from kproxy.config.providers import complete, from_environment, simulated
from kproxy.config.references import References
from kproxy.config.tiers import read_tiers
from kproxy.routing.artefact import ArtefactError
from kproxy.routing.router import Router
from kproxy.sim.params import SimParams
from kproxy.store.vault import parse_seal_key
from kproxy.telemetry.otlp import OtlpParams

__all__ = ["Config", "Overrides", "find_data_dir", "find_tiers", "load"]

_BOUNDED = ("connect", "first_token", "gap")  # what `total` bounds

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line says; empty: nothing."""

    listen: tuple[str, ...] = ()
    config: Path | None = None
    data_dir: Path | None = None
    workers: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything an operator can decide, decided. Only `app` and the commands see it whole."""

    listeners: tuple[Listening, ...]  # at least one is not for operators alone
    workers: int  # processes that serve the listeners
    data_dir: Path
    auth: str  # "keys"; or "none", and then callers' addresses are on loopback
    seal_key: Secret | None  # KPROXY_SEAL_KEY, which `store.vault` reads; None: its own file
    providers: Mapping[str, ProviderConfig]  # by slug; never empty
    models: tuple[ModelConfig, ...]  # as configured; they come on top of the catalog's
    catalog: Catalog  # of all providers: the packaged one, or the operator's own
    tiers: Mapping[str, Tier]  # every tier by name
    limits: Limits
    timeouts: Timeouts
    attempts: Attempts
    routing: RoutingConfig
    router: Router  # the packaged one, or the operator's own
    guardrails: GuardrailsConfig
    plugins: PluginsConfig  # paths in it are whole
    half_close: bool  # answer a caller that has ended its sending side
    drain_timeout: float  # seconds
    strict_ledger: bool  # a receipt is on the disk before its answer ends
    reference_model: str
    access_log: str | None  # "-": standard error; else the whole path of a file; None: none
    otlp: OtlpParams | None  # where spans go; None: nothing is traced
    sim: SimParams
    source: Path | None  # the file it was read from


def load(overrides: Overrides, environ: Mapping[str, str]) -> Config:
    """The configuration. Raises ConfigError; reads the file and what it refers to, writes none."""
    document = _document(overrides, environ)
    try:
        tree = _references(document, environ).resolve_tree(document.tree)
        tables = _take(tree, "providers", dict)
        rows = _take(tree, "models", list)
        tiers = _take(tree, "tiers", dict)
        doors = _take(tree, "listeners", list)
        file = convert(tree, FileConfig, ())
        providers = _providers(tables, environ)
        listeners = _listeners(overrides, environ, document, file, doors)
        return Config(
            listeners=listeners,
            workers=overrides.workers or file.workers,
            auth=check_auth(file.auth, listeners),
            seal_key=_seal_key(environ),
            data_dir=_data_dir(overrides, environ, document, file.data_dir),
            providers=providers,
            models=_models(rows, providers),
            catalog=_catalog(environ, document, file.catalog.file),
            tiers=read_tiers(tiers),
            limits=file.limits,
            timeouts=_bounded(file.timeouts),
            attempts=file.attempts,
            routing=file.routing,
            router=_router(environ, document, file.routing.artefact),
            guardrails=check_guardrails(file.guardrails),
            plugins=_plugins(environ, document, file.plugins),
            half_close=file.half_close,
            drain_timeout=file.drain_timeout,
            strict_ledger=file.ledger == "strict",
            reference_model=file.reference_model,
            access_log=_access_log(environ, document, file.log.access),
            otlp=otlp_params(file.telemetry.otel, environ, partial(_beside, document, environ)),
            sim=_sim(file.sim),
            source=document.file,
        )
    except PlacedError as problem:
        raise document.error(problem) from problem


def find_data_dir(overrides: Overrides, environ: Mapping[str, str]) -> Path:
    """The data directory alone, for commands that need no provider's secret to be there.

    Raises ConfigError, but only for what is wrong with `data_dir` or with the file as TOML.
    """
    document = _document(overrides, environ)
    try:
        named = document.tree.get("data_dir")
        if named is not None:
            named = _references(document, environ).resolve_tree(named, ("data_dir",))
            named = convert(named, str, ("data_dir",))
        return _data_dir(overrides, environ, document, named)
    except PlacedError as problem:
        raise document.error(problem) from problem


def find_tiers(overrides: Overrides, environ: Mapping[str, str]) -> Mapping[str, Tier]:
    """The tiers alone, likewise. Raises ConfigError, but for no other part of the file."""
    document = _document(overrides, environ)
    try:
        tables = _take({"tiers": document.tree.get("tiers", {})}, "tiers", dict)
        return read_tiers(_references(document, environ).resolve_tree(tables, ("tiers",)))
    except PlacedError as problem:
        raise document.error(problem) from problem


def _document(overrides: Overrides, environ: Mapping[str, str]) -> Document:
    named = overrides.config or environ.get("KPROXY_CONFIG")
    return Document.read(Path(named)) if named else Document()


def _references(document: Document, environ: Mapping[str, str]) -> References:
    return References(environ, document.file.parent if document.file else Path())


def _take(tree: dict[str, Any], key: str, kind: type[T]) -> T:
    """Part of the tree that is converted piece by piece, so that a problem says its own path."""
    value = tree.pop(key, kind())
    if not isinstance(value, kind):
        example = f"[{key}.NAME]" if kind is dict else f"[[{key}]]"
        raise PlacedError((key,), f"must be written as {example}")
    return value


def _providers(tables: dict[str, object], environ: Mapping[str, str]) -> dict[str, ProviderConfig]:
    if not tables:
        return from_environment(environ) or simulated()
    return {
        slug: complete(slug, convert(table, ProviderConfig, ("providers", slug)), environ)
        for slug, table in tables.items()
    }


def _models(rows: list[object], providers: Mapping[str, ProviderConfig]) -> tuple[ModelConfig, ...]:
    models = []
    seen = set()
    for at, row in enumerate(rows):
        steps = ("models", at)
        model = convert(row, ModelConfig, steps)
        try:
            check_model(model)
        except ValueError as error:
            field, _, reason = str(error).partition(": ")
            raise PlacedError((*steps, *field.split(".")), reason) from error
        if model.provider not in providers:
            there = ", ".join(providers)
            reason = f'there is no provider "{model.provider}"; there are {there}'
            raise PlacedError((*steps, "provider"), reason)
        if (model.id, model.provider) in seen:
            reason = f'"{model.id}" at "{model.provider}" is listed twice'
            raise PlacedError((*steps, "id"), reason)
        seen.add((model.id, model.provider))
        models.append(msgspec.structs.replace(model, upstream=model.upstream or model.id))
    return tuple(models)


def _listeners(
    overrides: Overrides,
    environ: Mapping[str, str],
    document: Document,
    file: FileConfig,
    rows: list[object],
) -> tuple[Listening, ...]:
    doors = [convert(row, ListenerConfig, ("listeners", at)) for at, row in enumerate(rows)]
    public = any(not door.admin for door in doors)
    given = () if public and "listen" not in document.tree else file.listen
    texts = listen_texts(overrides.listen, environ, given)
    port = environ.get("PORT", "").strip()
    return build_listeners(texts, doors, port, partial(_beside, document, environ))


def _seal_key(environ: Mapping[str, str]) -> Secret | None:
    text = environ.get("KPROXY_SEAL_KEY", "").strip()
    if not text:
        return None
    try:
        parse_seal_key(text)
    except ValueError as error:
        raise PlacedError(("KPROXY_SEAL_KEY",), str(error)) from None
    return Secret(text)


def _data_dir(
    overrides: Overrides, environ: Mapping[str, str], document: Document, named: str | None
) -> Path:
    chosen = overrides.data_dir or environ.get("KPROXY_DATA_DIR")
    if chosen:
        return Path(chosen).absolute()
    if named is not None:
        if not named.strip() or "\0" in named:
            raise PlacedError(("data_dir",), "not the name of a directory")
        return _beside(document, environ, named)
    state = environ.get("XDG_STATE_HOME", "")
    if not state.startswith("/"):  # the specification: a relative one is to be ignored
        state = _home("~/.local/state", environ)
    return Path(state) / "kproxy"


def _access_log(environ: Mapping[str, str], document: Document, named: str | None) -> str | None:
    if named is None or named == "-":
        return named
    if not named.strip() or "\0" in named:
        raise PlacedError(("log", "access"), "not the name of a file")
    return str(_beside(document, environ, named))


def _catalog(environ: Mapping[str, str], document: Document, named: str | None) -> Catalog:
    if named is None:
        return load_packaged()
    try:
        return parse_catalog(_beside(document, environ, named).read_bytes())
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
        raise PlacedError(("catalog", "file"), reason) from error
    except ValueError as error:
        raise PlacedError(("catalog", "file"), str(error)) from error


def _router(environ: Mapping[str, str], document: Document, named: str | None) -> Router:
    if named is None:
        return load_packaged_router()
    try:
        return read_router(_beside(document, environ, named))
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
        raise PlacedError(("routing", "artefact"), reason) from error
    except ArtefactError as error:
        raise PlacedError(("routing", "artefact"), str(error)) from error


def _plugins(environ: Mapping[str, str], document: Document, given: PluginsConfig) -> PluginsConfig:
    try:
        given = check_plugins(given)
    except ValueError as error:
        field, _, reason = str(error).partition(": ")
        raise PlacedError(("plugins", *field.split(".")), reason) from error
    code = check_code_exec(given.code_exec, lambda named: _beside(document, environ, named))
    given = msgspec.structs.replace(given, code_exec=code)
    library = given.gutenberg
    if library is None or library.cache is None:
        return given
    whole = str(_beside(document, environ, library.cache))
    changed = msgspec.structs.replace(library, cache=whole)
    return msgspec.structs.replace(given, gutenberg=changed)


def _beside(document: Document, environ: Mapping[str, str], named: str) -> Path:
    """Relative to the file, so that it means the same wherever kproxy is started."""
    beside = document.file.parent if document.file else Path()
    return (beside / _home(named, environ)).absolute()


def _home(text: str, environ: Mapping[str, str]) -> str:
    if text != "~" and not text.startswith("~/"):
        return text
    home = environ.get("HOME", "")
    if not home.startswith("/"):
        raise ConfigError("HOME is not set: name a directory in KPROXY_DATA_DIR or --data-dir")
    return home + text[1:]


def _sim(sim: SimConfig) -> SimParams:
    try:
        return SimParams(**msgspec.structs.asdict(sim))
    except ValueError as error:
        field, _, reason = str(error).partition(": ")
        raise PlacedError(("sim", field), reason) from error


def _bounded(timeouts: Timeouts) -> Timeouts:
    shortened = {name: min(getattr(timeouts, name), timeouts.total) for name in _BOUNDED}
    return msgspec.structs.replace(timeouts, **shortened)

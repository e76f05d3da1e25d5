"""`kproxy explain`: a request on standard input, the decision that `serve` would make of it out.

Nothing is sent. What a running server knows besides, how quick and how healthy each route is and
what a key allows, is not known here: every route is taken to be healthy, the key to allow all, and
plugins to add nothing.
"""

import os
import sys
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import click
import msgspec

from kproxy.cli.options import as_json, config_option, print_table
from kproxy.config import Overrides, load
from kproxy.config.catalog import build_catalog
from kproxy.config.providers import spoken
from kproxy.errors import NotCarried
from kproxy.guard.validate import PLUGIN_TIERS, validate
from kproxy.money import format_usd
from kproxy.routing.appraise import Appraiser
from kproxy.routing.compare import compare
from kproxy.routing.estimate import estimate_prompt_tokens
from kproxy.routing.explain import explain_json
from kproxy.routing.plan import Plan
from kproxy.routing.planner import plan
from kproxy.schema.chat import ChatRequest
from kproxy.schema.compare import CompareRequest, decode_either
from kproxy.schema.receipt import Candidate

__all__ = ["explain"]


@click.command()
@config_option
@as_json
def explain(*, config: Path | None, json: bool) -> None:
    """Explain the decision for a chat request (JSON on standard input)."""
    # Here and not above: `kproxy --help` lists this command and needs no server.
    from kproxy.config.params import attempt_policy, json_limits
    from kproxy.dialect.choose import dialect_for

    loaded = load(Overrides(config=config), os.environ)
    catalog, body = build_catalog(loaded), sys.stdin.buffer.read()
    call = decode_either(body, json_limits(loaded))
    validate(call.request, paid=True, offered=PLUGIN_TIERS)
    tokens = estimate_prompt_tokens(call.prompt)
    appraisal = Appraiser(loaded.router, catalog.models)(call.request)

    @cache
    def refuses(slug: str) -> NotCarried | None:
        given = loaded.providers[slug]
        host = urlsplit(given.base_url or "").hostname or ""
        return dialect_for(spoken(slug, given), host).refuses(call.fields)

    def decide(request: ChatRequest) -> Plan:
        policy = attempt_policy(loaded)
        return plan(request, tokens, catalog, policy, appraisal=appraisal, refuses=refuses)

    asked = call.request
    decided = compare(asked, decide).plan if isinstance(asked, CompareRequest) else decide(asked)
    if json:
        click.echo(msgspec.json.format(explain_json(decided), indent=2))
        return
    _print(decided, tokens)


def _print(decided: Plan, tokens: int) -> None:
    found = decided.classification
    click.echo(f"prompt:   about {tokens} tokens")
    if found is not None:
        novel = "; like nothing known, so the best model answers" if found.novel else ""
        click.echo(f"category: {found.category}, confidence {found.confidence:.2f}{novel}")
    first, *rest = [spec.model.key for spec in decided.attempts]
    click.echo(f"decision: {first}, {decided.strategy}")
    click.echo(f"behind:   {', '.join(rest[: decided.most - 1]) or 'nobody else'}")
    click.echo(f"dial:     {decided.dial or 'not asked'}")
    click.echo(f"policy:   {decided.policy_version}\n")
    print_table(
        ("MODEL", "SCORE", "WORTH", "EST. COST", "FILTERED BY", "REASONS"),
        [_row(one) for one in decided.candidates],
    )


def _row(one: Candidate) -> tuple[str, ...]:
    return (
        f"{one.provider}/{one.model_id}",
        "-" if one.score is None else f"{one.score:.3f}",
        "-" if one.worth is None else f"{one.worth:.4f}",
        "unknown" if one.est_cost is None else format_usd(one.est_cost),
        one.filtered_out_by or "-",
        "; ".join(one.reasons),
    )

"""CPU of one decision of `auto`: estimating, judging and planning, over the shipped catalog.

    python bench/plan.py [--rounds 2000]

Prints the median for prompts of 1 kB and of 200 kB, all models of the catalog being candidates.
The text is this repository's README, repeated as often as needed.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

from kproxy.config import Overrides, load
from kproxy.config.catalog import build_catalog
from kproxy.config.params import attempt_policy
from kproxy.routing.appraise import Appraiser
from kproxy.routing.estimate import estimate_prompt_tokens
from kproxy.routing.planner import plan
from kproxy.schema.chat import decode_chat
from kproxy.schema.jsonlimits import JsonLimits

README = (Path(__file__).parent.parent / "README.md").read_text()


def measure(size: int, rounds: int) -> tuple[float, ...]:
    """Medians in microseconds: the estimate, the judgement, the plan, all three."""
    config = load(Overrides(), {"HOME": "/"})
    catalog, policy = (
        build_catalog(config).with_models(config.catalog.models),
        attempt_policy(config),
    )
    appraise = Appraiser(config.router, catalog.models)
    text = (README * (1 + size // len(README)))[:size]
    body = json.dumps({"model": "auto", "messages": [{"role": "user", "content": text}]})
    call = decode_chat(body.encode(), JsonLimits())
    times = []
    for _ in range(rounds):
        begun = time.thread_time_ns()
        tokens = estimate_prompt_tokens(call.prompt)
        estimated = time.thread_time_ns()
        appraisal = appraise(call.request)
        judged = time.thread_time_ns()
        decided = plan(call.request, tokens, catalog, policy, appraisal=appraisal)
        planned = time.thread_time_ns()
        times.append((estimated - begun, judged - estimated, planned - judged, planned - begun))
    assert len(decided.candidates) == len(catalog.models)
    return tuple(statistics.median(column) / 1000 for column in zip(*times, strict=True))


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2000)
    rounds = parser.parse_args().rounds
    print(f"{'prompt':>8}  {'estimate':>9} {'judge':>9} {'plan':>9} {'all':>9}   us of CPU")
    for size in (1_000, 200_000):
        row = " ".join(f"{one:9.0f}" for one in measure(size, rounds))
        print(f"{size // 1000:>5} kB  {row}")


if __name__ == "__main__":
    main()

"""The reply of a comparison, member for member, and who is named in its summary."""

import json

from msgspec import Raw

from kproxy.ledger.compare import Compared, Named, comparison_json, summed_up
from kproxy.ledger.settle import Summary
from kproxy.outcome import Usage

CHOICE = {
    "index": Raw(b"4"),
    "message": Raw(b'{"role":"assistant", "content":"Hi"}'),
    "finish_reason": Raw(b'"stop"'),
    "logprobs": Raw(b"null"),
    "x_kairosroute": Raw(b'{"provider":"theirs"}'),
}
GOOD = Compared("cheap/m", "m", "Cheap", 27_000, 1.5, CHOICE)
BAD = Compared("n", "n", "Dear", 0, 0.25, error=Raw(b'{"code":"all_models_unavailable"}'))
UNASKED = Compared("o", "o", None, 0, None, error=Raw(b'{"code":"no_models_available"}'))
NAMED = Named("chatcmpl-1", 1_000)


def answered(name: str, cost: int | None, latency: float) -> Compared:
    return Compared(name, name, "P", cost, latency, CHOICE)


def test_the_body() -> None:
    body = comparison_json(NAMED, [GOOD, BAD, UNASKED], Usage(10, 5, 3, 2))
    assert b'"message":{"role":"assistant", "content":"Hi"}' in body, "as it came"
    assert b'"cost_usd":0.000027' in body
    failed = {"role": "assistant", "content": None}
    none = {"cost_usd": 0, "first_token_ms": None}
    assert json.loads(body) == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_000,
        "model": "kr-compare",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hi"},
                "finish_reason": "stop",
                "logprobs": None,
                "x_kairosroute": {
                    "model": "m",
                    "provider": "Cheap",
                    "cost_usd": 0.000027,
                    "latency_ms": 1500,
                    "first_token_ms": None,
                    "error": None,
                },
            },
            {
                "index": 1,
                "message": failed,
                "finish_reason": None,
                "x_kairosroute": {
                    "model": "n",
                    "provider": "Dear",
                    "latency_ms": 250,
                    "error": {"code": "all_models_unavailable"},
                    **none,
                },
            },
            {
                "index": 2,
                "message": failed,
                "finish_reason": None,
                "x_kairosroute": {
                    "model": "o",
                    "provider": None,
                    "latency_ms": None,
                    "error": {"code": "no_models_available"},
                    **none,
                },
            },
        ],
        "usage": {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "total_tokens": 15,
            "prompt_tokens_details": {"cached_tokens": 3},
            "completion_tokens_details": {"reasoning_tokens": 2},
        },
    }


def test_an_unknown_price_is_null_and_not_the_cheapest() -> None:
    unknown = answered("a", None, 0.5)
    body = json.loads(comparison_json(NAMED, [unknown], Usage()))
    assert body["choices"][0]["x_kairosroute"]["cost_usd"] is None
    assert summed_up([unknown, answered("b", 7, 2.0)]) == Summary("b", "a")
    assert summed_up([unknown]) == Summary(None, "a")


def test_who_failed_is_neither() -> None:
    assert summed_up([BAD, UNASKED, GOOD]) == Summary("cheap/m", "cheap/m")


def test_of_equals_the_first() -> None:
    assert summed_up([answered(name, 5, 1.0) for name in "cab"]) == Summary("c", "c")

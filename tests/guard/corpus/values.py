"""Values like those that programs ask models for: extracted, classified, planned, called."""

from typing import Any

__all__ = ["VALUES"]

VALUES: tuple[Any, ...] = (
    {"name": "Ada Lovelace", "born": 1815, "died": 1852, "fields": ["mathematics", "computing"]},
    {"sentiment": "negative", "score": -0.83, "reasons": ["late delivery", "rude support"]},
    {
        "invoice": "2026-00417",
        "total": 1249.5,
        "currency": "EUR",
        "lines": [
            {"text": "Espresso machine", "quantity": 1, "price": 1199.0},
            {"text": "Descaler, 2 x 250 ml", "quantity": 2, "price": 25.25},
        ],
        "paid": False,
        "note": None,
    },
    {"title": "Der Wald im März", "language": "de", "tags": ["Natur", "Lyrik"], "pages": 48},
    {"steps": ["Preheat the oven to 180 °C.", "Mix flour and eggs.", "Bake for 35 minutes."]},
    {"city": "São Paulo", "geo": {"lat": -23.55052, "lon": -46.633308}, "population": 12325232},
    {"code": "def f(x):\n    return x + 1\n", "language": "python", "runs": True},
    {"answer": "42", "confidence": 0.97, "sources": [], "follow_up": None},
    {"url": "https://example.org/a?b=1&c=2#top", "status": 200, "headers": {"x-id": "a/b"}},
    {"question": "What's the boiling point of water?", "choices": {"a": "90", "b": "100"}},
    [{"id": 1, "ok": True}, {"id": 2, "ok": False}, {"id": 3, "ok": True}],
    {"matrix": [[1, 0, 0], [0, 1, 0], [0, 0, 1]], "trace": 3, "det": 1e0},
    {"items": [{"sku": "A-1", "dims": {"w": 10, "h": 2.5}}, {"sku": "B-22", "dims": None}]},
    {"from": "ann@example.org", "to": ["bob@example.org"], "subject": "Re: plan (v2)", "cc": []},
    {"path": "src/main/app.ts", "edits": [{"line": 12, "insert": "const a = {b: [1, 2]};"}]},
    {"summary": "Sales rose by 12 %, costs fell; the outlook is stable.", "quarter": 3},
    {"日本": "東京", "emoji": "🙂 ok", "escaped": "tab\tand \\ backslash"},
    {"intent": "book_flight", "slots": {"from": "ZRH", "to": "LIS", "date": "2026-12-01"}},
    {"empty": {}, "none": [], "zero": 0, "text": "", "minus": -1, "big": 9007199254740991},
    {"dialog": [{"who": "user", "says": "Hi, there!"}, {"who": "bot", "says": "Hello."}]},
)

"""Answers of the three search engines in their documented shapes, as values for JSON.

In: (title, url, text) of each result. Out: what the engine would send, with the fields around it
that nobody reads.
"""

__all__ = ["BRAVE_ERROR", "TAVILY_ERROR", "brave", "searxng", "tavily"]

Results = list[tuple[str, str, str]]


def searxng(results: Results) -> dict[str, object]:
    return {
        "query": "q",
        "number_of_results": 0,
        "results": [
            {
                "url": url, "title": title, "content": text, "publishedDate": None,
                "thumbnail": None, "engine": "duckduckgo", "template": "default.html",
                "parsed_url": ["https", "a.example", "/", "", "", ""], "img_src": "",
                "engines": ["duckduckgo"], "positions": [1], "score": 1.0, "category": "general",
            }
            for title, url, text in results
        ],
        "answers": [], "corrections": [], "infoboxes": [], "suggestions": ["more"],
        "unresponsive_engines": [["brave", "too many requests"]],
    }  # fmt: skip


def brave(results: Results) -> dict[str, object]:
    return {
        "type": "search",
        "query": {"original": "q", "more_results_available": True},
        "mixed": {"type": "mixed", "main": [], "top": [], "side": []},
        "web": {
            "type": "search",
            "results": [
                {
                    "title": title, "url": url, "is_source_local": False, "language": "en",
                    "description": text, "type": "search_result", "subtype": "generic",
                    "profile": {"name": "A"}, "meta_url": {"scheme": "https"},
                }
                for title, url, text in results
            ],
            "family_friendly": True,
        },
    }  # fmt: skip


def tavily(results: Results) -> dict[str, object]:
    return {
        "query": "q", "answer": None, "images": [], "follow_up_questions": None,
        "results": [
            {"title": title, "url": url, "content": text, "score": 0.8, "raw_content": None}
            for title, url, text in results
        ],
        "response_time": 0.7, "request_id": "1",
    }  # fmt: skip


BRAVE_ERROR = {
    "type": "ErrorResponse",
    "error": {
        "id": "1", "status": 422, "code": "SUBSCRIPTION_TOKEN_INVALID",
        "detail": "The provided subscription token is invalid.",
    },
}  # fmt: skip
TAVILY_ERROR = {"detail": {"error": "Unauthorized: missing or invalid API key."}}

"""What a provider says it used, or what we counted, goes in; `outcome.Usage` comes out.

Providers are not believed blindly: a count that is missing, negative or absurd makes the whole
usage unknown, and the caller of this file falls back on an estimate that is marked as one.
"""

from kproxy.outcome import Usage
from kproxy.schema.reply import Count, ReplyUsage

__all__ = ["estimate_usage", "from_reply"]

_MOST = 2**40  # tokens: far above any context, and a price times this still is exact everywhere

_BYTES_PER_TOKEN = 4  # of generated text; English is 4 to 5, code about 3


def from_reply(told: ReplyUsage | None) -> Usage | None:
    """The provider's own counts; None when prompt or completion is not credibly told.

    `reasoning_tokens` are part of `completion_tokens`, except where the total shows that they were
    counted apart (xAI does): then they are added, because they are billed as output.
    """
    if told is None:
        return None
    prompt, completion = _count(told.prompt_tokens), _count(told.completion_tokens)
    if prompt is None or completion is None:
        return None
    read = _count(told.prompt_cache_hit_tokens) or 0
    if told.prompt_tokens_details is not None:
        read = _count(told.prompt_tokens_details.cached_tokens) or read
    thought = 0
    if told.completion_tokens_details is not None:
        thought = _count(told.completion_tokens_details.reasoning_tokens) or 0
    if thought and _count(told.total_tokens) == prompt + completion + thought:
        completion += thought
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        cached_tokens=min(read, prompt),
        reasoning_tokens=min(thought, completion),
    )


def estimate_usage(prompt_tokens: int, completion_bytes: int) -> Usage:
    """Our own count where the provider gave none: a prompt estimate and bytes of output."""
    completion = -(-max(0, completion_bytes) // _BYTES_PER_TOKEN)
    return Usage(max(0, prompt_tokens), completion, estimated=True)


def _count(value: Count) -> int | None:
    if value is None or not 0 <= value <= _MOST:
        return None
    return int(value)

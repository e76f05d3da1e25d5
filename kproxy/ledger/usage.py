"""What a provider says it used, or what we counted, goes in; `outcome.Usage` comes out.

Providers are not believed blindly: a count that is missing, negative or absurd makes the whole
usage unknown, and the caller of this file falls back on an estimate that is marked as one.
"""

from kproxy.outcome import Usage
from kproxy.schema.reply import Count, ReplyUsage

__all__ = ["estimate_usage", "from_reply"]

_MOST = 2**31  # tokens: far above any context, and a price times this still is exact everywhere

_BYTES_PER_TOKEN = 4  # of generated text; English is 4 to 5, code about 3


def from_reply(told: ReplyUsage | None) -> Usage | None:
    """The provider's own counts; None when prompt or completion is not credibly told.

    Cached, written and reasoning tokens are parts of the prompt and of the completion, as at
    OpenAI. Where the counts show that a provider tells them apart, they are added first.
    """
    if told is None:
        return None
    completion = _first(told.completion_tokens, told.output_tokens)
    read, written = _read(told), _written(told)
    prompt = _prompt(told, completion, read + written)
    if prompt is None or completion is None:
        return None
    completion, thought = _thinking(told, prompt, completion)
    read = min(read, prompt)
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        cached_tokens=read,
        reasoning_tokens=min(thought, completion),
        cache_write_tokens=min(written, prompt - read),
    )


def _read(told: ReplyUsage) -> int:
    """Tokens read from the provider's cache, by whichever name they have."""
    details = told.prompt_tokens_details
    return _largest(
        None if details is None else details.cached_tokens,
        told.cache_read_input_tokens,
        told.prompt_cache_hit_tokens,
        told.cached_tokens,
        told.cached_prompt_text_tokens,
    )


def _written(told: ReplyUsage) -> int:
    """Tokens written to the provider's cache, by whichever name they have."""
    details = told.prompt_tokens_details
    inside = () if details is None else (details.cache_write_tokens, details.cache_creation_tokens)
    return _largest(*inside, told.cache_creation_input_tokens)


def _prompt(told: ReplyUsage, completion: int | None, cached: int) -> int | None:
    """The whole prompt. Anthropic counts as input only what its cache had no part in.

    Its names beside OpenAI's leave open which way `prompt_tokens` is meant: it is the smaller
    count where the total says so, or where the parts would be more than the whole.
    """
    prompt = _first(told.prompt_tokens, told.input_tokens)
    native = _largest(told.cache_read_input_tokens, told.cache_creation_input_tokens) > 0
    if prompt is None or not native:
        return prompt
    total = _count(told.total_tokens)
    apart = (
        _count(told.prompt_tokens) is None
        or cached > prompt
        or (completion is not None and total == prompt + cached + completion)
    )
    return prompt + cached if apart else prompt


def _thinking(told: ReplyUsage, prompt: int, completion: int) -> tuple[int, int]:
    """The whole completion, and what of it is reasoning.

    xAI tells reasoning apart from the completion; Gemini's OpenAI-compatible endpoint tells it in
    the total alone. Both bill it as output.
    """
    details = told.completion_tokens_details
    thought = _largest(None if details is None else details.reasoning_tokens, told.reasoning_tokens)
    rest = (_count(told.total_tokens) or 0) - prompt - completion
    if rest > 0 and thought in (0, rest):
        return completion + rest, rest
    return completion, thought


def estimate_usage(prompt_tokens: int, completion_bytes: int, most: int | None = None) -> Usage:
    """Our own count where the provider gave none: a prompt estimate and bytes of output, which
    are no more than the `most` tokens that were asked for."""
    completion = -(-max(0, completion_bytes) // _BYTES_PER_TOKEN)
    completion = completion if most is None else min(completion, most)
    return Usage(max(0, prompt_tokens), completion, estimated=True)


def _first(*values: Count) -> int | None:
    """The first credible count."""
    for value in values:
        if value is not None and 0 <= value <= _MOST:
            return int(value)
    return None


def _largest(*values: Count) -> int:
    """The largest credible count: a host that has two names for one thing fills one of them."""
    if not any(values):  # most hosts have none of these names
        return 0
    most = 0
    for value in values:
        if value is not None and most < value <= _MOST:
            most = int(value)
    return most


def _count(value: Count) -> int | None:
    if value is None or not 0 <= value <= _MOST:
        return None
    return int(value)

"""Where OpenAI-compatible providers differ from OpenAI and from each other: one row per address.

A row says what to do with members of the request that its provider is known to refuse or to
misread. Nothing is here on suspicion: each row names what says so. What is not here goes on as it
came, and the provider has the word.

Gemini is reached by its OpenAI-compatible endpoint, not natively: that endpoint carries text,
tools, images, JSON schemas, streams and usage, and what it adds (`extra_content` with a call's
thought signature, which the next turn has to bring back) passes through in both directions just
because bytes go as they came. A translation would have to invent a place for it.
"""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

__all__ = ["NONE", "QUIRKS", "Quirks", "quirks_of"]


class Quirks(msgspec.Struct, frozen=True, kw_only=True):
    """`renamed`: other names for members. `dropped`: hints that are left out. `refused`: members
    that the provider answers 400 to, left out where their value asks for nothing and else named to
    the caller. `prefix`: an assistant's text at the end must be marked to be continued.
    `asks_usage`: a stream is asked for its usage; a provider that always tells it may refuse that.
    """

    renamed: Mapping[str, str] = MappingProxyType({})
    dropped: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()
    prefix: bool = False
    asks_usage: bool = True

    @property
    def is_empty(self) -> bool:
        """Whether every request goes as it came."""
        return self == NONE


NONE = Quirks()

IDLE: Mapping[str, frozenset[bytes]] = MappingProxyType(
    {
        "n": frozenset({b"1"}),
        "logprobs": frozenset({b"false"}),
        "top_logprobs": frozenset({b"0"}),
        "logit_bias": frozenset({b"{}"}),
        "frequency_penalty": frozenset({b"0", b"0.0"}),
    }
)
"""Values of members that ask for nothing; so does null."""

QUIRKS: Mapping[str, Quirks] = MappingProxyType(
    {
        # OpenAI's API reference, chat completions, `max_tokens`: deprecated in favour of
        # max_completion_tokens, which all models take, and refused by reasoning models.
        "api.openai.com": Quirks(renamed={"max_tokens": "max_completion_tokens"}),
        # docs.mistral.ai, chat completions: `max_tokens`, `random_seed`, `prefix`; a message of the
        # assistant's at the end without `prefix` is a 400. Members that it does not know are a 422
        # ("extra_forbidden"), among them max_completion_tokens and store (editor-code-assistant/eca
        # 231, Gitlawb/openclaude 739) and stream_options (vybestack/llxprt-code 114); a stream ends
        # with its usage unasked.
        "api.mistral.ai": Quirks(
            renamed={"max_completion_tokens": "max_tokens", "seed": "random_seed"},
            dropped=frozenset({"store"}),
            prefix=True,
            asks_usage=False,
        ),
        # console.groq.com/docs/openai: these "will result in a 400 error", and N must be 1.
        "api.groq.com": Quirks(refused=frozenset({"logprobs", "top_logprobs", "logit_bias", "n"})),
        # n4ze3m/page-assist 418, Vali-98/ChatterUI 227, MinLL/SkyrimNet-GamePlugin 77: unknown
        # names are a 400, among them seed and frequency_penalty. A seed is best effort everywhere.
        "generativelanguage.googleapis.com": Quirks(
            dropped=frozenset({"seed"}), refused=frozenset({"frequency_penalty"})
        ),
    }
)
"""By the host of the base URL: a provider may have any slug."""


def quirks_of(host: str) -> Quirks:
    """The row of that host; NONE where there is none."""
    return QUIRKS.get(host.lower(), NONE)

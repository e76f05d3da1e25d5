"""Usage in each provider's own words, and what is charged for it.

The numbers are examples, the shapes are the providers': from their API references, from the rules
by which genai-prices reads them (Anthropic's and xAI's two spellings, OpenAI's cache writes), and
from issues of gateways (Gemini, whose total alone has the thinking in it). Where two spellings of
one provider are known, both stand here. The proxy's is LiteLLM's.
"""

import json

import pytest

from kproxy.dialect.openai import OpenAI
from kproxy.ledger.usage import from_reply
from kproxy.outcome import Usage

OPENAI = """{"prompt_tokens": 2006, "completion_tokens": 300, "total_tokens": 2306,
  "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
  "completion_tokens_details": {"reasoning_tokens": 128, "audio_tokens": 0,
    "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}}"""
OPENAI_WRITES = """{"prompt_tokens": 2006, "completion_tokens": 300, "total_tokens": 2306,
  "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 1920}}"""
DEEPSEEK = """{"prompt_tokens": 1040, "completion_tokens": 94, "total_tokens": 1134,
  "prompt_tokens_details": {"cached_tokens": 1024},
  "completion_tokens_details": {"reasoning_tokens": 60},
  "prompt_cache_hit_tokens": 1024, "prompt_cache_miss_tokens": 16}"""
DEEPSEEK_FIRST = """{"prompt_tokens": 1040, "completion_tokens": 94, "total_tokens": 1134,
  "prompt_cache_hit_tokens": 1024, "prompt_cache_miss_tokens": 16}"""
XAI = """{"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 135,
  "prompt_tokens_details": {"text_tokens": 32, "audio_tokens": 0, "image_tokens": 0,
    "cached_tokens": 6},
  "completion_tokens_details": {"reasoning_tokens": 94, "audio_tokens": 0,
    "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0},
  "num_sources_used": 0}"""
XAI_FIRST = """{"prompt_tokens": 32, "completion_tokens": 9, "reasoning_tokens": 94,
  "total_tokens": 135, "cached_prompt_text_tokens": 6, "prompt_text_tokens": 32,
  "prompt_image_tokens": 0}"""
ANTHROPIC = """{"prompt_tokens": 21, "completion_tokens": 393, "total_tokens": 414,
  "prompt_tokens_details": null, "completion_tokens_details": null}"""
ANTHROPIC_CACHED = """{"prompt_tokens": 2121, "completion_tokens": 393, "total_tokens": 2514,
  "cached_tokens": 2100}"""
ANTHROPIC_OWN = """{"input_tokens": 21, "cache_creation_input_tokens": 188,
  "cache_read_input_tokens": 2000, "output_tokens": 393, "service_tier": "standard",
  "cache_creation": {"ephemeral_5m_input_tokens": 188, "ephemeral_1h_input_tokens": 0}}"""
LITELLM = """{"prompt_tokens": 2209, "completion_tokens": 393, "total_tokens": 2602,
  "prompt_tokens_details": {"cached_tokens": 2000, "cache_creation_tokens": 188},
  "cache_creation_input_tokens": 188, "cache_read_input_tokens": 2000}"""
APART_BY_TOTAL = """{"prompt_tokens": 2500, "completion_tokens": 393, "total_tokens": 5081,
  "cache_creation_input_tokens": 188, "cache_read_input_tokens": 2000}"""
APART_BY_SIZE = """{"prompt_tokens": 21, "completion_tokens": 393,
  "cache_creation_input_tokens": 188, "cache_read_input_tokens": 2000}"""
RESPONSES = """{"input_tokens": 36, "output_tokens": 87, "total_tokens": 123}"""
GEMINI = """{"prompt_tokens": 8, "completion_tokens": 9, "total_tokens": 317}"""
GEMINI_FLAT = """{"prompt_tokens": 8, "completion_tokens": 9, "total_tokens": 17}"""
GEMINI_THOUGHTS = """{"prompt_tokens": 21, "completion_tokens": 0, "total_tokens": 81,
  "completion_tokens_details": {"reasoning_tokens": 60}}"""
MISTRAL = """{"prompt_tokens": 16, "completion_tokens": 34, "total_tokens": 50,
  "prompt_tokens_details": {"cached_tokens": 8}}"""
GROQ = """{"queue_time": 0.037493756, "prompt_tokens": 4641, "prompt_time": 0.0681,
  "completion_tokens": 1817, "completion_time": 5.57, "total_tokens": 6458, "total_time": 5.64,
  "prompt_tokens_details": {"cached_tokens": 4608},
  "completion_tokens_details": {"reasoning_tokens": 1000}}"""
TOGETHER = """{"prompt_tokens": 31, "completion_tokens": 459, "total_tokens": 490}"""
FIREWORKS = """{"prompt_tokens": 24, "total_tokens": 52, "completion_tokens": 28,
  "prompt_tokens_details": {"cached_tokens": 20}}"""
MINIMAX = """{"total_tokens": 249, "total_characters": 0, "prompt_tokens": 26,
  "completion_tokens": 223, "completion_tokens_details": {"reasoning_tokens": 214},
  "prompt_tokens_details": {"cached_tokens": 12}}"""


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (OPENAI, Usage(2006, 300, 1920, 128)),
        (OPENAI_WRITES, Usage(2006, 300, cache_write_tokens=1920)),
        (DEEPSEEK, Usage(1040, 94, 1024, 60)),
        (DEEPSEEK_FIRST, Usage(1040, 94, 1024)),
        (XAI, Usage(32, 103, 6, 94)),
        (XAI_FIRST, Usage(32, 103, 6, 94)),
        (ANTHROPIC, Usage(21, 393)),
        (ANTHROPIC_CACHED, Usage(2121, 393, 2100)),
        (ANTHROPIC_OWN, Usage(2209, 393, 2000, cache_write_tokens=188)),
        (LITELLM, Usage(2209, 393, 2000, cache_write_tokens=188)),
        (APART_BY_TOTAL, Usage(4688, 393, 2000, cache_write_tokens=188)),
        (APART_BY_SIZE, Usage(2209, 393, 2000, cache_write_tokens=188)),
        (RESPONSES, Usage(36, 87)),
        (GEMINI, Usage(8, 309, 0, 300)),
        (GEMINI_FLAT, Usage(8, 9)),
        (GEMINI_THOUGHTS, Usage(21, 60, 0, 60)),
        (MISTRAL, Usage(16, 34, 8)),
        (GROQ, Usage(4641, 1817, 4608, 1000)),
        (TOGETHER, Usage(31, 459)),
        (FIREWORKS, Usage(24, 28, 20)),
        (MINIMAX, Usage(26, 223, 12, 214)),
    ],
)
def test_told_in_a_reply_and_in_a_chunk(told: str, expected: Usage) -> None:
    choice = {"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}
    reply = json.dumps({"choices": [choice]})[:-1] + f',"usage":{told}}}'
    assert from_reply(OpenAI().read_reply(reply.encode()).usage) == expected
    chunk = f'{{"choices":[],"usage":{told}}}'
    assert from_reply(OpenAI().read_chunk(chunk.encode()).usage) == expected


def test_groq_tells_it_in_the_last_chunk_of_its_own_accord() -> None:
    first = '{"choices":[{"delta":{"content":"a"}}],"x_groq":{"id":"req_1"}}'
    assert OpenAI().read_chunk(first.encode()).usage is None
    finish = '{"index":0,"delta":{},"finish_reason":"stop"}'
    last = f'{{"choices":[{finish}],"x_groq":{{"id":"req_1","usage":{GROQ}}}}}'
    facts = OpenAI().read_chunk(last.encode())
    assert facts.finished == (0,)
    assert from_reply(facts.usage) == Usage(4641, 1817, 4608, 1000)


@pytest.mark.parametrize("groq", ["null", "7", '"x"', "[]", '{"usage":null}', '{"usage":7}'])
def test_another_x_groq_does_not_cost_a_good_chunk(groq: str) -> None:
    facts = OpenAI().read_chunk(f'{{"choices":[],"x_groq":{groq}}}'.encode())
    assert facts.usage is None
    told = OpenAI().read_chunk(f'{{"choices":[],"usage":{MISTRAL},"x_groq":{groq}}}'.encode())
    assert from_reply(told.usage) == Usage(16, 34, 8)

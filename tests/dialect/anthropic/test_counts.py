"""Anthropic's counts, as OpenAI's names and as the ledger reads them; why a message stopped."""

import json
from typing import Any, get_args

import anthropic.types
import msgspec
import pytest
from msgspec import Raw

from kproxy.dialect.anthropic.counts import FINISH, NO_COUNTS, finish_reason, read_counts, usage
from kproxy.ledger.usage import from_reply
from kproxy.outcome import Usage
from kproxy.schema.reply import read_usage


def counted(told: Any) -> Any:
    return usage(read_counts(Raw(json.dumps(told).encode())))


TOLD = {
    "input_tokens": 10,
    "cache_read_input_tokens": 20,
    "cache_creation_input_tokens": 3,
    "output_tokens": 7,
    "output_tokens_details": {"thinking_tokens": 4},
    "cache_creation": {"ephemeral_5m_input_tokens": 3},
}


def test_every_reason_of_the_official_client_is_known() -> None:
    assert set(get_args(anthropic.types.StopReason)) == set(FINISH)
    assert finish_reason("to_come") == "stop"


def test_the_ledger_reads_what_anthropic_meant() -> None:
    told = read_usage(Raw(msgspec.json.encode(counted(TOLD))))
    assert from_reply(told) == Usage(33, 7, 20, 4, cache_write_tokens=3)


def test_later_counts_are_sums_and_a_nought_is_one() -> None:
    first = read_counts(Raw(b'{"input_tokens":10,"cache_read_input_tokens":5,"output_tokens":1}'))
    later = first.then(read_counts(Raw(b'{"output_tokens":0,"cache_read_input_tokens":null}')))
    assert later == msgspec.structs.replace(first, output_tokens=0)


@pytest.mark.parametrize(
    "told", [None, 5, [], {}, {"input_tokens": 1}, TOLD | {"output_tokens": -1}]
)
def test_no_counts_are_no_usage(told: Any) -> None:
    assert counted(told) is None


def test_what_is_no_json_is_no_usage() -> None:
    assert read_counts(Raw(b"[" * 100_000)) is NO_COUNTS
    assert read_counts(Raw(b"")) is NO_COUNTS

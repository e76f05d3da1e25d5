"""A receipt survives being stored: what is written is what is read."""

import msgspec
import pytest
from msgspec.structs import replace

from kproxy.outcome import AttemptOutcome, Ending, Usage
from kproxy.schema.receipt import (
    Candidate,
    Classification,
    Decision,
    Execution,
    Join,
    Receipt,
)

USAGE = Usage(10, 5, cached_tokens=3, estimated=True)
RECEIPT = Receipt(
    receipt_id="rcpt_1",
    account_id="acct_1",
    key_id="key_1",
    arrived=1_764_000_000.25,
    asked="auto",
    stream=True,
    classification=Classification("code", 0.75),
    candidates=(
        Candidate("m", "acme", 27_000, None, ("meets every constraint",), 0.8),
        Candidate("n", "other", None, "zdr", ("the provider guarantees none",)),
    ),
    decision=Decision("m", "acme", "hedge", ("acme/m", "good/m")),
    attempts=(
        AttemptOutcome("m", "acme", 0.0, None, 0.5, Ending.FAULT, "reset"),
        AttemptOutcome("m", "good", 0.5, 0.75, 1.5, Ending.COMPLETE, None, USAGE, None),
    ),
    execution=Execution(Ending.COMPLETE, None, -5, 1.5, 0.75, USAGE, (Join(120, "m", "good"),)),
    policy_version="1",
)


def test_a_receipt_is_stored_and_read_whole() -> None:
    data = msgspec.json.encode(RECEIPT)
    assert msgspec.json.decode(data, type=Receipt) == RECEIPT
    assert b"\n" not in data, "one line each: the spool is cut at line ends"


def test_what_is_as_usual_is_not_written() -> None:
    data = msgspec.json.decode(msgspec.json.encode(RECEIPT))
    assert {"guardrails", "plugins"} & set(data) == set()
    assert set(data["attempts"][0]) == {
        "model", "provider", "started", "first_token", "ended", "ending", "fault",
    }  # fmt: skip
    assert set(data["execution"]["usage"]) == {
        "prompt_tokens", "completion_tokens", "cached_tokens", "estimated",
    }  # fmt: skip
    # A caller reads the decision as it is stored: it stays whole.
    assert data["decision"]["dial"] is None


@pytest.mark.parametrize("amount", [2**53, -(2**53), 2**70])
def test_a_number_that_is_not_exact_in_every_reader_is_no_receipt(amount: int) -> None:
    data = msgspec.json.encode(replace(RECEIPT, execution=replace(RECEIPT.execution, cost=amount)))
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(data, type=Receipt)

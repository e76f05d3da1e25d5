"""What h2load prints is read, and errors that have no status count too."""

import pytest

from bench.h2 import counts
from bench.processes import BenchError

SAID = """finished in 1.00s, 392.00 req/s, 15.31KB/s
requests: 1000 total, 1008 started, 1000 done, {good} succeeded, {failed} failed, {errored} errored, {late} timeout
status codes: {good} 2xx, 0 3xx, 0 4xx, {bad} 5xx
traffic: 15.31KB (15680) total
"""  # noqa: E501


def said(good: int, failed: int = 0, errored: int = 0, late: int = 0, bad: int = 0) -> str:
    return SAID.format(good=good, failed=failed, errored=errored, late=late, bad=bad)


def test_answers_and_errors() -> None:
    assert counts(said(1000)) == (1000, 0)
    assert counts(said(990, failed=10, bad=10)) == (990, 10)
    assert counts(said(995, failed=5, errored=5, late=2)) == (995, 5)


@pytest.mark.parametrize(
    "text",
    [
        said(980, failed=20, bad=20),
        said(980, failed=20, errored=20),
        said(980, errored=20),
        said(980, late=20),
        said(0),
    ],
)
def test_a_run_with_many_errors_or_no_answer_is_none(text: str) -> None:
    with pytest.raises(BenchError, match="errors beside"):
        counts(text)


def test_another_text_is_said() -> None:
    with pytest.raises(BenchError, match="not expected"):
        counts("finished\nstatus codes: 1 2xx, 0 3xx, 0 4xx, 0 5xx")

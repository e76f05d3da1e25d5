"""What an operator has to install."""

import sys
from importlib import util

import pytest

from kproxy.plugins.settings import SandboxParams, unavailable


@pytest.mark.parametrize(
    ("tier", "library", "extra"),
    [
        ("monty", "pydantic_monty", "kproxy[sandbox]"),
        ("python", "wasmtime", "kproxy[sandbox-python]"),
    ],
)
def test_a_missing_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, tier: str, library: str, extra: str
) -> None:
    params = SandboxParams(tier=tier)  # type: ignore[arg-type]
    assert unavailable(params) is None
    monkeypatch.setattr(util, "find_spec", lambda name: None if name == library else object())
    assert f"pip install '{extra}'" in (unavailable(params) or "")


def test_it_needs_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "Linux" in (unavailable(SandboxParams()) or "")

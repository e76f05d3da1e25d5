"""The sandbox as its callers see it: real children, and the refusal where a layer does not hold."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from kproxy.plugins import layers, wrapper
from kproxy.plugins import sandbox as sandboxes
from kproxy.plugins.layers import Layer
from kproxy.plugins.sandbox import Outcome, Sandbox, SandboxParams, SandboxRefused, open_sandbox
from kproxy.plugins.settings import unavailable
from tests.fakes.prison import left, params, watch_children

TIERS = ("monty", "python")


@pytest.fixture(params=TIERS)
def given(request: pytest.FixtureRequest, compiled: Path) -> SandboxParams:
    return params(request.param, compiled, seconds=60.0, children=2)


def held(sandbox: Sandbox) -> dict[str, Layer]:
    return {layer.name: layer for layer in sandbox.layers}


async def test_code_runs_and_layers_are_told(given: SandboxParams) -> None:
    async with open_sandbox(given) as sandbox:
        outcome = await sandbox.run("print('a')\n6 * 7")
        assert (outcome.stdout, outcome.result, outcome.error) == ("a\n", "42", None)
        assert list(held(sandbox)) == list(layers.LAYERS)
        assert all(held(sandbox)[name].holds for name in layers.ALWAYS)


async def test_nothing_is_kept_from_one_run_to_the_next(given: SandboxParams) -> None:
    async with open_sandbox(replace(given, children=1)) as sandbox:
        assert (await sandbox.run("kept = 1")).error is None
        outcome = await sandbox.run("kept")
        assert outcome.error == "exception"
        assert "kept" in outcome.text


async def test_no_child_lives_before_the_first_code_nor_after_the_end(
    given: SandboxParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = watch_children(monkeypatch)
    async with open_sandbox(given) as sandbox:
        assert sandbox.statistics() == (0, 0)
        assert left(pids) == []
        await sandbox.run("1")
    assert sandbox.statistics() == (0, 0)
    assert len(pids) >= 2
    assert left(pids) == []


async def test_descriptors_are_given_back(given: SandboxParams) -> None:
    async def some_runs() -> None:
        async with open_sandbox(given) as sandbox, trio.open_nursery() as nursery:
            for code in ("1", "1 / 0", "x = (", "print('a')") * 3:
                nursery.start_soon(sandbox.run, code)

    await some_runs()  # what is opened once, is open now
    before = os.listdir("/proc/self/fd")
    await some_runs()
    assert len(os.listdir("/proc/self/fd")) == len(before)


async def test_a_caller_who_leaves_takes_the_child_along(
    given: SandboxParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = watch_children(monkeypatch)
    async with open_sandbox(replace(given, children=1)) as sandbox:
        with trio.CancelScope() as caller:
            real = sandboxes.Cell.run

            async def begun(cell: sandboxes.Cell, *arguments: object) -> object:
                caller.cancel()
                return await real(cell, *arguments)  # type: ignore[arg-type]

            monkeypatch.setattr(sandboxes.Cell, "run", begun)
            await sandbox.run("while True: pass")
        assert caller.cancelled_caught
        monkeypatch.setattr(sandboxes.Cell, "run", real)
        assert (await sandbox.run("1")).result == "1"
        assert left(pids[:-2]) == []


async def test_a_text_that_is_cut_is_marked(given: SandboxParams) -> None:
    async with open_sandbox(replace(given, output_bytes=1000)) as sandbox:
        whole = await sandbox.run("print('x' * 999)")
        assert (len(whole.stdout), whole.truncated, whole.error) == (1000, False, None)
        flood = await sandbox.run("print('x' * 1000)")
        assert (len(flood.stdout), flood.truncated, flood.error) == (1000, True, "output")
        long = await sandbox.run("'x' * 999")
        assert (len(long.result or ""), long.truncated, long.error) == (1000, True, None)
        loud = await sandbox.run("raise ValueError('x' * 2000)")
        assert (len(loud.text), loud.truncated, loud.error) == (1000, True, "exception")


async def test_code_over_the_bound_is_not_run(given: SandboxParams) -> None:
    async with open_sandbox(replace(given, code_bytes=10)) as sandbox:
        assert (await sandbox.run("1234567890")).result == "1234567890"
        assert (await sandbox.run("12345678901")).error == "size"


async def test_without_bubblewrap_the_rest_holds(
    given: SandboxParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wrapper, "program", lambda: None)
    async with open_sandbox(given) as sandbox:
        assert held(sandbox)[layers.BUBBLEWRAP] == Layer(
            layers.BUBBLEWRAP, False, "it is not installed"
        )
        assert (await sandbox.run("1")).result == "1"
    with pytest.raises(SandboxRefused, match="bubblewrap"):
        async with open_sandbox(replace(given, require=(layers.BUBBLEWRAP,))):
            pass


async def test_a_bubblewrap_that_does_not_work_is_told(
    given: SandboxParams, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As in containers, which let nobody make namespaces."""
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(wrapper, "program", lambda: str(broken))
    async with open_sandbox(given) as sandbox:
        found = held(sandbox)[layers.BUBBLEWRAP]
        assert not found.holds
        assert "does not work" in found.why
        assert (await sandbox.run("1")).result == "1"
    with pytest.raises(SandboxRefused, match="before it was ready"):
        async with open_sandbox(replace(given, require=(layers.BUBBLEWRAP,))):
            pass


async def test_bubblewrap_holds_where_it_is_installed(
    given: SandboxParams, require: Callable[[str], str]
) -> None:
    require("bwrap")
    async with open_sandbox(given) as sandbox:
        found = held(sandbox)[layers.BUBBLEWRAP]
        if "does not work" in found.why:
            pytest.skip(f"the kernel refuses: {found.why}")
        assert found.holds, found
        assert (await sandbox.run("1")).result == "1"


@pytest.mark.parametrize("name", layers.ALWAYS[1:])
async def test_a_layer_that_does_not_hold_is_a_refusal(
    given: SandboxParams, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The child's own word is turned round, for each layer that is required by default."""
    real = sandboxes.open_cell

    async def opened(launch: sandboxes.Launch, seconds: float) -> sandboxes.Cell:
        cell = await real(launch, seconds)
        cell.layers = tuple(
            Layer(name, False, "broken") if layer.name == name else layer for layer in cell.layers
        )
        return cell

    monkeypatch.setattr(sandboxes, "open_cell", opened)
    pids = watch_children(monkeypatch)
    monkeypatch.setattr(sandboxes, "open_cell", opened)
    with pytest.raises(SandboxRefused, match=f"^{name}: broken$"):
        async with open_sandbox(given):
            pass
    assert left(pids) == []


async def test_an_interpreter_that_answers_wrongly_is_a_refusal(
    given: SandboxParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandboxes, "_PROBE", "print('proof')\n6 * 9")
    with pytest.raises(SandboxRefused, match="a test of the interpreter failed"):
        async with open_sandbox(given):
            pass


async def test_without_its_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kproxy.plugins.settings.util.find_spec", lambda _: None)
    assert unavailable(SandboxParams())
    with pytest.raises(SandboxRefused, match=r"pip install 'kproxy\[sandbox\]'"):
        async with open_sandbox(SandboxParams()):
            pass


async def test_as_another_user_than_root_it_holds_as_well(given: SandboxParams) -> None:
    async with open_sandbox(given) as sandbox:
        found = held(sandbox)[layers.UNPRIVILEGED]
        if os.getuid() == 0 and not found.holds:
            pytest.skip(f"this root may not become nobody: {found.why}")
        assert found.holds, found


def test_an_outcome_is_frozen() -> None:
    with pytest.raises(AttributeError):
        Outcome().stdout = "x"  # type: ignore[misc]

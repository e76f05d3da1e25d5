"""Tests stand where their module stands: `kproxy/x/y.py` and `tests/x/test_y.py`, both ways.

A test file may also be about one aspect of a module (`test_h1_split.py` for `h1.py`), so that a
long one can be split by idea.
"""

from tests.arch.tree import sources

# Modules without a test file of their own, each with the reason.
UNTESTED = {
    "kproxy/outcome.py": "enumerations and frozen values without behaviour",
    "kproxy/wire/h2_events.py": "frozen values without behaviour",
    "kproxy/plugins/guest.py": "a protocol and frozen values without behaviour",
}
# Directories of tests that are about no single module.
FREE = ("tests/arch", "tests/bench", "tests/fakes", "tests/story")


def untested(modules: set[str], tests: set[str], exempt: set[str]) -> list[str]:
    """Modules that have no test file."""
    return sorted(
        f"{module} has no {wanted}"
        for module in modules - exempt
        if not module.endswith("__init__.py") and (wanted := mirror(module)) not in tests
    )


def astray(modules: set[str], tests: set[str]) -> list[str]:
    """Test files that belong to no module."""
    owners = {mirror(module).removesuffix(".py") for module in modules}
    return sorted(
        f"{test} mirrors no module"
        for test in tests
        if not any(test == f"{owner}.py" or test.startswith(f"{owner}_") for owner in owners)
    )


def mirror(module: str) -> str:
    """`kproxy/wire/h1.py` to `tests/wire/test_h1.py`; of `__main__.py` it is `test_main.py`."""
    directory, _, name = module.removeprefix("kproxy/").rpartition("/")
    name = name.replace("__main__", "main")
    return "/".join(filter(None, ("tests", directory, f"test_{name}")))


MODULES = {source.path for source in sources("kproxy")}
TESTS = {
    source.path
    for source in sources("tests")
    if source.path.rpartition("/")[2].startswith("test_") and not source.under(*FREE)
}


def test_every_module_has_its_test() -> None:
    assert untested(MODULES, TESTS, set(UNTESTED)) == []


def test_every_test_has_its_module() -> None:
    assert astray(MODULES, TESTS) == []


def test_exemptions_are_used() -> None:
    assert set(UNTESTED) <= MODULES, "they are gone: take them off the list"
    unneeded = {module for module in UNTESTED if mirror(module) in TESTS}
    assert unneeded == set(), "they have a test now: take them off the list"


def test_a_module_without_a_test_is_found() -> None:
    modules = {"kproxy/a.py", "kproxy/x/b.py", "kproxy/x/__init__.py", "kproxy/x/c.py"}
    tests = {"tests/test_a.py"}
    assert untested(modules, tests, {"kproxy/x/c.py"}) == ["kproxy/x/b.py has no tests/x/test_b.py"]


def test_a_test_without_a_module_is_found() -> None:
    tests = {"tests/x/test_b.py", "tests/x/test_b_split.py", "tests/x/test_c.py"}
    assert astray({"kproxy/x/b.py"}, tests) == ["tests/x/test_c.py mirrors no module"]

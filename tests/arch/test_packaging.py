"""What is published: reasons beside requirements, the lock, the licence, and no foreign places."""

import os
import re
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.arch.tree import ROOT, published_files, pyproject

# A place on somebody's machine, and the addresses of registries: neither helps a reader, and a
# lock or a script that names them works in one place only.
MACHINE_PATH = re.compile(r"(?<![\w.~}\])-])/(?:(?:home|Users|mnt)/\w|(?:root|tmp|work)(?![\w.-]))")
REGISTRY = re.compile(r"pypi\.(?:org|python)|pythonhosted\.|registry\.npmjs|proxy\.golang")
TEST_COMMAND = "<!-- test-command -->"


def foreign_places(text: str) -> list[str]:
    """`line number: line` for each line that names a machine's path or a registry."""
    return [
        f"{number}: {line.strip()[:120]}"
        for number, line in enumerate(text.splitlines(), 1)
        if MACHINE_PATH.search(line) or REGISTRY.search(line)
    ]


def unreasoned(text: str, requirements: list[str]) -> list[str]:
    """The requirements whose line in `text` ends without a comment of two words or more."""
    missing = []
    for requirement in requirements:
        line = next(line for line in text.splitlines() if f'"{requirement}"' in line)
        comment = line.partition(f'"{requirement}"')[2].partition("#")[2]
        if len(comment.split()) < 2:
            missing.append(requirement)
    return missing


def locked(text: str) -> dict[str, str]:
    """Each requirement of a lock by its canonical name. Raises ValueError for a loose one."""
    text = re.sub(r"(?m)^#.*\n", "", text).replace("\\\n", " ")
    found: dict[str, str] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        if not re.fullmatch(r"[^#]+==[^#]+?(\s+--hash=sha256:[0-9a-f]{64})+", line):
            raise ValueError(f"not pinned by hash: {line[:80]}")
        requirement = Requirement(line.partition(" --hash")[0])
        if requirement.url or requirement.extras:
            raise ValueError(f"an address or an extra: {line[:80]}")
        found[canonicalize_name(requirement.name)] = str(requirement.specifier)
    return found


def needed_here(names: list[str]) -> set[str]:
    """The closure of these requirements on this interpreter, from what is installed."""
    seen: set[str] = set()
    waiting = [Requirement(name) for name in names]
    while waiting:
        requirement = waiting.pop()
        key = str(canonicalize_name(requirement.name))
        seen.add(key)
        for text in metadata.requires(key) or []:
            child = Requirement(text)
            extras = requirement.extras or {""}
            wanted = not child.marker or any(child.marker.evaluate({"extra": e}) for e in extras)
            if wanted and (canonicalize_name(child.name) not in seen or child.extras):
                waiting.append(child)
    return seen


def test_every_requirement_has_a_reason() -> None:
    project = pyproject()["project"]
    requirements = [*pyproject()["build-system"]["requires"], *project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        requirements += [name for name in extra if not name.startswith("kproxy[")]
    assert unreasoned((ROOT / "pyproject.toml").read_text(), requirements) == []


def test_a_requirement_without_a_reason_is_found() -> None:
    text = '"a>=1",  # what we need it for\n"b>=2",\n"c>=3",  # because\n'
    assert unreasoned(text, ["a>=1", "b>=2", "c>=3"]) == ["b>=2", "c>=3"]


def test_the_lock_pins_what_the_base_needs() -> None:
    lock = locked((ROOT / "requirements.lock").read_text())
    base = pyproject()["project"]["dependencies"]
    for requirement in map(Requirement, base):
        pin = lock[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(pin.removeprefix("==")), requirement
    assert needed_here(base) <= lock.keys()


@pytest.mark.parametrize(
    "line",
    [
        "a==1\n",
        "a>=1 --hash=sha256:" + "0" * 64,
        "a[b]==1 --hash=sha256:" + "0" * 64,
        "a @ https://example.org/a.whl --hash=sha256:" + "0" * 64,
        "-i https://example.org/a\n",
    ],
)
def test_a_loose_lock_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"not pinned|an address"):
        locked(line)


def test_nothing_published_names_a_machine_or_a_registry() -> None:
    found = []
    for path in published_files():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue  # not text
        found += [f"{path.relative_to(ROOT)}:{place}" for place in foreign_places(text)]
    assert found == []


@pytest.mark.parametrize(
    "parts",
    [
        ("see /", "home/ann/kproxy"),
        ("cd '/", "root/kproxy'"),
        ('open("/', 'tmp/x")'),
        ("in /", "tmp"),
        ("file:///", "tmp/x"),
        ("https://py", "pi.org/simple"),
    ],
)
def test_a_foreign_place_is_found(parts: tuple[str, ...]) -> None:
    """The examples are written in parts, so that this file passes its own rule."""
    assert foreign_places("".join(parts))


@pytest.mark.parametrize("text", ["GET /v1/home HTTP/1.1", "https://example.org/work/x", "a/tmp/b"])
def test_other_paths_pass(text: str) -> None:
    assert foreign_places(text) == []


def test_the_licence_is_whole() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert pyproject()["project"]["license"] == "Apache-2.0"
    for mark in ("Version 2.0, January 2004", "3. Grant of Patent License", "APPENDIX"):
        assert mark in text


def test_ci_runs_the_command_of_the_readme() -> None:
    assert (ROOT / "README.md").read_text().count(TEST_COMMAND) == 1
    script = ROOT / ".ci" / "run"
    assert TEST_COMMAND in script.read_text()
    assert os.access(script, os.X_OK)

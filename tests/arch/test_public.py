"""What others may rely on: the public names, the version, and that an import has no effects."""

import subprocess
import sys
from pathlib import Path

import pytest

import kproxy
from tests.arch.tree import ROOT, pyproject, sources

# Changing this list is changing the public surface: say so in the commit.
PUBLIC = ["__version__"]

# Runs in a fresh interpreter: imports its first argument unwatched, then the others, and prints one
# line for each thing that these did to the world.
WATCHED_IMPORT = """
import sys
EFFECTS = ("socket.", "subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.spawn",
           "os.system", "os.remove", "os.rename", "os.mkdir", "http.", "urllib.", "_thread.start")
def watch(event, args):
    if event.startswith(EFFECTS):
        print(event, *args)
    if event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
        if "__pycache__" not in str(args[0]):
            print(event, *args)
sys.dont_write_bytecode = True
import importlib
importlib.import_module(sys.argv[1])
sys.addaudithook(watch)
for name in sys.argv[2:]:
    importlib.import_module(name)
"""


def effects_of_importing(*names: str, path: Path = ROOT, after: str = "sys") -> list[str]:
    command = [sys.executable, "-c", WATCHED_IMPORT, after, *names]
    done = subprocess.run(command, cwd=path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def module_names() -> list[str]:
    paths = [s.path.removesuffix(".py").removesuffix("/__init__") for s in sources("kproxy")]
    return [path.replace("/", ".") for path in paths if not path.endswith("__main__")]


def test_public_names() -> None:
    assert kproxy.__all__ == PUBLIC
    assert all(hasattr(kproxy, name) for name in PUBLIC)


def test_version_is_said_once() -> None:
    assert kproxy.__version__ == pyproject()["project"]["version"]


def test_importing_kproxy_has_no_effects() -> None:
    assert effects_of_importing("kproxy") == []


def test_importing_any_module_has_no_effects() -> None:
    """Except for trio's own: it asks ldconfig for the thread library, to name its threads."""
    assert effects_of_importing(*module_names(), after="trio") == []


@pytest.mark.parametrize(
    "effect",
    [
        "import socket; socket.socket()",
        "import subprocess; subprocess.run(['true'])",
        "import threading; threading.Thread(target=print).start()",
        "open('trace', 'w').close()",
        "import socket; socket.gethostbyname('localhost')",
    ],
)
def test_an_import_with_effects_is_found(tmp_path: Path, effect: str) -> None:
    (tmp_path / "loud.py").write_text(effect)
    assert effects_of_importing("loud", path=tmp_path)

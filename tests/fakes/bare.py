"""A piece of Python in, what it printed as JSON out, run by a plain interpreter in a child.

Nothing of the sandbox but what the piece itself calls: so a layer can be tried without the
interpreter that usually stands before it.
"""

import json
import subprocess
import sys
from typing import Any

from tests.arch.tree import ROOT

__all__ = ["run_bare"]


def run_bare(code: str, *arguments: str) -> Any:
    """The last line that it printed, decoded. Raises AssertionError when it failed."""
    code = f"import sys; sys.path.append({str(ROOT)!r})\n{code}"
    command = [sys.executable, "-I", "-S", "-c", code]
    done = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, check=False, env={}, cwd="/"
    )
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
    return json.loads(done.stdout.splitlines()[-1])

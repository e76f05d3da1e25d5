"""One compiled WASI module for all tests of a run: it takes seconds to make."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that sandboxes keep it in."""
    return tmp_path_factory.mktemp("compiled")

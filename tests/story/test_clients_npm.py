"""The official OpenAI client for JavaScript through kproxy, in both dialects.

`npm ci` in `tests/story/npm` brings it; `.ci/run` does so.
"""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CI, missing
from tests.fakes.clients import DIALECTS, Both, both
from tests.fakes.server import until

pytestmark = pytest.mark.loopback

FOLDER = Path(__file__).parent / "npm"
Outcomes = dict[str, Any]


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    with both(tmp_path_factory.mktemp("npm")) as front:
        yield front


@pytest.fixture(scope="module", params=DIALECTS)
def outcomes(
    request: pytest.FixtureRequest, front: Both, require: Callable[[str], str]
) -> Outcomes:
    """Every call of calls.mjs by its name, and what came of it."""
    node = require("node")
    if not (FOLDER / "node_modules" / "openai").is_dir():
        missing(f"the npm package openai (npm ci in {FOLDER})", ci=CI)
    dialect: str = request.param
    before = front.sim.hangups()
    command = [node, "calls.mjs", front.base_url, front.key, dialect, f"by-{dialect}/m"]
    ran = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stderr
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    found: Outcomes = {line["name"]: line["outcome"] for line in lines}
    until(lambda: front.sim.hangups() == before + 2, "what broke and the abort")
    return found | {"provider": f"by-{dialect}"}


def test_a_chat_and_its_streams(outcomes: Outcomes) -> None:
    chat, plain, asked = outcomes["chat"], outcomes["stream"], outcomes["streamUsage"]
    assert chat["text"] == plain["text"] == asked["text"] != ""
    assert plain["usage"] is None
    assert asked["usage"]["total_tokens"] == chat["usage"]["total_tokens"]
    assert plain["provider"] == asked["provider"] == outcomes["provider"]


def test_tools(outcomes: Outcomes) -> None:
    for calls in (outcomes["tools"], outcomes["streamTools"]):
        assert [call["function"]["name"] for call in calls] == ["get_weather", "get_time"]
        assert set(json.loads(calls[0]["function"]["arguments"])) == {"city"}
        assert json.loads(calls[1]["function"]["arguments"]) == {}


def test_a_schema_and_an_image(outcomes: Outcomes) -> None:
    assert set(outcomes["schema"]) == {"answer"}
    assert outcomes["image"]


def test_errors_and_an_abort(outcomes: Outcomes) -> None:
    too_long = {"name": "BadRequestError", "status": 400, "code": "context_length_exceeded"}
    assert outcomes["tooLong"] == too_long
    down = {"name": "InternalServerError", "status": 503, "code": "all_models_unavailable"}
    assert outcomes["down"] == down
    assert outcomes["broken"]["name"] == "APIError"
    assert outcomes["abort"] is True

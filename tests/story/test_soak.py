"""Two thousand mixed calls, and kproxy is as it was: bench/soak.py in short, without the memory."""

import pytest
import trio

from bench.drive import Target
from bench.mixed import KINDS, config, run
from bench.soak import at_rest, descriptors
from tests.fakes.server import serving, simulating, until

pytestmark = pytest.mark.loopback

CALLS = 2_000
WORKERS = 16


def test_mixed_calls_leave_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("soak")
    with (
        simulating(folder / "acme", "--seed", "1") as acme,
        simulating(folder / "good", "--seed", "1") as good,
        serving(folder / "front", config(acme.base_url, good.base_url)) as server,
    ):
        target = Target(server.address, server.key)
        trio.run(run, target, len(KINDS), 1)
        until(lambda: at_rest(server, acme, good))
        before = descriptors(server)
        tally = trio.run(run, target, CALLS, WORKERS)
        assert tally.unexpected() == []
        assert tally.done == CALLS
        assert {name for name, _ in tally.ends} == {kind.name for kind in KINDS}
        assert tally.joined["rescue"] > 0
        until(lambda: at_rest(server, acme, good) and descriptors(server) == before)

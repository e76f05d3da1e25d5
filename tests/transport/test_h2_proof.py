"""When a connection is asked for a sign of life, and by when there must be one."""

import math

from kproxy.transport.h2_proof import Proof


def test_it_is_asked_seldom_and_has_its_time() -> None:
    proof = Proof(5, 100)
    assert (proof.due, proof.ask(101), proof.doubt(101)) == (105, False, 0), "its SETTINGS"
    proof.given()
    assert (proof.ask(102), proof.due, proof.ask(103), proof.doubt(103)) == (True, 107, False, 1)
    proof.given()
    assert (proof.doubt(103), proof.ask(102.5), proof.ask(103)) == (0, False, True)
    proof.given()
    assert proof.due == math.inf

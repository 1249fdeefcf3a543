"""Lanes as one edge: sums."""

from dataclasses import replace

from noncestr.edge.edges import NOTHING, total


def test_lanes_add_up() -> None:
    one = replace(NOTHING, sessions=2, hashrate_hs=10, accepted=5, rejected={21: 1}, height=7, job="a", blocks={"x": 1})
    other = replace(NOTHING, sessions=1, hashrate_hs=1, rejected={21: 2, 23: 1}, height=8, job="b", node_lost_s=2.0)
    both = total([one, other])
    assert (both.sessions, both.hashrate_hs, both.accepted, both.rejected) == (3, 11, 5, {21: 3, 23: 1})
    assert (both.height, both.job, both.blocks, both.node_lost_s, both.stalled) == (8, "b", {"x": 1}, 2.0, False)
    assert total([]) == NOTHING

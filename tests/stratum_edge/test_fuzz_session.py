"""The short form of the session's fuzz target, on fixed seeds; see fuzz_session.py for its invariant and long form."""

from collections import Counter

import pytest

from tests.stratum_edge.fuzz_session import run_round

ROUNDS = 100


@pytest.mark.parametrize("first", [0, 10_000, 20_000, 30_000])
def test_no_bytes_of_strangers_break_the_invariant(first):
    ends: Counter[str] = Counter()
    accepted = 0
    for seed in range(first, first + ROUNDS):
        for link in run_round(seed).links:
            ends[link.session.closing] += 1
            accepted += link.session.accepted
    # The fuzzer reaches what it is for: good shares, endings, and connections that live on.
    assert accepted > 50
    assert ends["too many errors"] > 5
    assert ends[""] > 5

"""Checks: what passes says nothing, what does not is told what would be right."""

import pytest

from noncestr.config import checks

NPUB = "npub10xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqpkge6d"


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (checks.between(1, 3), [1, 3], [0, 4]),
        (checks.one_of("a", "b"), ["a", "b"], ["", "A", "c"]),
        (checks.difficulty, ["1", "4294967296", "1/8192"], ["0", "-1", "0.3", "1/3", "1/0", "x", ""]),
        (checks.relay_urls, [(), ("ws://a", "wss://b")], [("http://a",), ("ws://a", "b")]),
        (
            checks.edge_keys,
            [(), (NPUB,), ("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",)],
            [("x",)],
        ),
        (checks.networks, [(), ("10.0.0.0/8", "::1")], [("10.0.0.1/8",), ("x",)]),
        (checks.port_name, ["tls", "a-b_9", "x" * 32], ["", "main", "A", "a b", "x" * 33]),
        (checks.PORT, [0, 65535], [-1, 65536]),
        (checks.SECONDS, [1, 86_400], [0, 86_401]),
    ],
)
def test_what_passes_and_what_is_told_otherwise(check, good, bad) -> None:
    assert [check(value) for value in good] == [None] * len(good)
    assert all((check(value) or "").startswith("must ") for value in bad)

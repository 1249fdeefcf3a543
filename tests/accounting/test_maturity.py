"""The fate of a reward by what the chain says of its block."""

import pytest

from accounting.maturity import due_status


@pytest.mark.parametrize(
    ("state", "confirmations", "tip", "status"),
    [
        ("pending", 99, 1098, None),
        ("pending", 100, 1099, "matured"),
        ("orphaned", 100, 1099, "matured"),
        ("matured", 5000, 6000, None),
        ("void", 100, 1099, None),
        ("pending", -1, 1005, None),
        ("pending", -1, 1006, "orphaned"),
        ("matured", -1, 1200, "orphaned"),
        ("orphaned", -1, 1200, None),
        ("void", -1, 1200, None),
        ("pending", None, 1199, None),
        ("pending", None, 1200, "orphaned"),
        ("matured", None, 9999, None),
        ("pending", None, 0, None),
    ],
)
def test_due_status(state, confirmations, tip, status):
    assert due_status(state, confirmations, height=1000, tip=tip, maturity_blocks=100) == status


def test_a_short_maturity_shortens_the_wait_for_an_orphan():
    assert due_status("pending", -1, height=10, tip=12, maturity_blocks=2) == "orphaned"

"""The registry of kinds."""

from nips.nip01 import is_addressable, is_ephemeral, is_replaceable
from nips.pool import kinds

ALL = {value for name, value in vars(kinds).items() if name.isupper() and type(value) is int}


def test_every_kind_is_in_one_set():
    assert len(ALL) == 17
    job = {kinds.JOB, kinds.RECEIPT}
    assert job <= kinds.LEDGER_KINDS
    assert ALL == kinds.LEDGER_KINDS | kinds.VIEW_KINDS | kinds.MINER_KINDS
    assert len(kinds.LEDGER_KINDS) + len(kinds.VIEW_KINDS) + len(kinds.MINER_KINDS) == len(ALL)


def test_the_log_is_regular_and_views_are_addressable():
    for kind in kinds.LEDGER_KINDS:
        assert not any(is_other(kind) for is_other in (is_replaceable, is_ephemeral, is_addressable))
    assert all(map(is_addressable, kinds.VIEW_KINDS))

"""The wallets that backends are tried against."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.zapper.backends import mint_wallet, nwc_wallets, rigs
from tests.zapper.backends.scripted_ledger import ScriptedLedger

NOW_S = 1_800_000_000


@pytest.fixture
def rig_clock() -> rigs.RigClock:
    return rigs.RigClock(NOW_S)


@pytest.fixture
def rig_ledger(make_invoice: Callable[..., str], rig_clock: rigs.RigClock) -> ScriptedLedger:
    return ScriptedLedger(make_invoice, rig_clock, balance_msat=rigs.BALANCE_MSAT)


@pytest.fixture
def rig_of(
    rig_ledger: ScriptedLedger, rig_clock: rigs.RigClock, tmp_path: Path, feed: Any
) -> Callable[[str], AbstractAsyncContextManager[rigs.Rig]]:
    """rig_of(kind): the wallet and its backend."""

    def make(kind: str) -> AbstractAsyncContextManager[rigs.Rig]:
        if kind == "fake":
            return rigs.fake_rig(tmp_path, rig_clock)
        if kind == "nwc":
            return nwc_wallets.memory_rig(feed, rig_ledger, rig_clock)
        if kind == "nwc-sdk":
            return nwc_wallets.sdk_rig(tmp_path, rig_ledger, rig_clock)
        if kind == "mint":
            return mint_wallet.mint_rig(tmp_path, rig_ledger, rig_clock)
        return rigs.http_rig(kind, rig_ledger, rig_clock)

    return make

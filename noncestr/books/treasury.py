"""Asks the places of the pool's money what they hold, hears those elsewhere, and says how the pool stands."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import anyio
from anyio.abc import TaskStatus

from accounting.ports import Funds
from accounting.service import Accounting
from accounting.treasury import Holding, Treasury, below_owed, silences, take_stock, to_json, to_summary

log = logging.getLogger("noncestr.treasury")

# A place that does not answer is asked again after this, or its interval if that is shorter.
RETRY_S: Final = 300.0
# Longer than any question may take: scans have half an hour.
ASK_S: Final = 2400.0
# Places join while the pool starts; those that join later are asked from then on.
JOIN_S: Final = 1.0
# How often it is looked at though no place has answered, as where all of them are elsewhere: O(miners).
WATCH_S: Final = 60.0


class WalletFunds:
    """`accounting.ports.Funds` of a wallet that pays (zapper.ports.LightningBackend with a balance)."""

    interval_s = 60.0

    def __init__(self, name: str, balance: Callable[[], Awaitable[int]]) -> None:
        self._name = name
        self._balance = balance

    @property
    def name(self) -> str:
        """See `Funds`."""
        return self._name

    async def balance_msat(self) -> int:
        """See `Funds`."""
        return await self._balance()


class Treasurer:
    """Keeps what each place told last."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._places: list[Funds] = []
        self._held: list[Holding] = []
        self._accounting: Accounting | None = None
        self._elsewhere: Callable[[], Sequence[Holding]] = list
        self._said: frozenset[str] = frozenset()

    def keep(self, accounting: Accounting) -> None:
        """Whose debts these are."""
        self._accounting = accounting

    def hear(self, elsewhere: Callable[[], Sequence[Holding]]) -> None:
        """What holders on other hosts have told."""
        self._elsewhere = elsewhere

    def add(self, funds: Funds) -> None:
        """One place more; two of a name are told apart by a number."""
        same = sum(each.name == funds.name for each in self._places)
        self._places.append(funds)
        self._held.append(Holding(funds.name if not same else f"{funds.name}-{same + 1}"))

    def held(self) -> list[Holding]:
        """What is asked here, as it was told last."""
        return list(self._held)

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Ask until cancelled."""
        task_status.started()
        async with anyio.create_task_group() as asking:
            asking.start_soon(self._watch)
            asked = 0
            while True:
                for number in range(asked, len(self._places)):
                    asking.start_soon(self._ask, number)
                asked = len(self._places)
                await anyio.sleep(JOIN_S)

    async def _ask(self, number: int) -> None:
        place = self._places[number]
        while True:
            known, wait = self._held[number], place.interval_s
            try:
                with anyio.fail_after(ASK_S):
                    msat = await place.balance_msat()
                self._held[number] = replace(known, msat=msat, ms=self._now_ms(), error="")
            except Exception as error:  # wallets and nodes come and go: what they told last stands with its date
                text = str(error) or type(error).__name__
                self._held[number] = replace(known, error=text)
                wait = min(wait, RETRY_S)
                if text != known.error:
                    log.warning("%s does not tell what it holds: %s", known.name, text)
            self._warn()
            await anyio.sleep(wait)

    async def _watch(self) -> None:
        while True:
            await anyio.sleep(WATCH_S)
            self._warn()

    def _warn(self) -> None:
        treasury = self.stock()
        # At the start one wallet answers before the other: nothing is amiss until each has, or has failed to.
        if treasury is None or any(each.msat is None and not each.error for each in self._held):
            return
        said = {
            f"{each.source} {each.name}": text for each, text in silences(treasury) if each.source or treasury.owed_msat
        }
        short = below_owed(treasury)
        if short is not None and not said:
            said["short"] = short
        for cause, text in said.items():
            if cause not in self._said:
                log.error("%s", text)
        self._said = frozenset(said)

    def stock(self) -> Treasury | None:
        """How the pool stands now; None before its books are read whole."""
        accounting = self._accounting
        if accounting is None or not accounting.condition().synced:
            return None
        return take_stock(accounting.fold.ledger, (*self._held, *self._elsewhere()), self._now_ms())

    def summary(self) -> Mapping[str, Any] | None:
        """What the next hourly summary says of it."""
        treasury = self.stock()
        return None if treasury is None else to_summary(treasury)

    async def told(self) -> dict[str, Any] | None:
        """How the pool stands, as JSON."""
        treasury = self.stock()
        return None if treasury is None else to_json(treasury)

"""Where the issuer signs (accounting.issuing.Desk): the running accounting, on its open file."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from accounting.adapters.store import AccountingStore
from accounting.attestation_book import Seen
from accounting.fold import Fold
from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.pool.archive import ArchiveBody
from nips.pool.chain import Link
from nips.pool.kinds import SETTINGS
from nips.pool.settings import Settings

if TYPE_CHECKING:
    from accounting.service import Accounting


class OpenDesk:
    """A running accounting and its file, as the issuer asks for them."""

    def __init__(self, accounting: "Accounting", store: AccountingStore) -> None:
        self._accounting = accounting
        self._store = store

    @property
    def pubkey(self) -> str:
        return self._accounting.own.signer.pubkey

    @property
    def fold(self) -> Fold:
        return self._accounting.fold

    def refusal(self) -> str | None:
        return self._accounting.refusal()

    def next_place(self) -> tuple[Link, int]:
        return self._accounting.own.next_place(self._accounting.clock.now_ms())

    def is_stated(self, block: str) -> bool:
        return block in self._accounting.own.stated

    async def sign(self, unsigned: UnsignedEvent, *, block: str | None = None, archive: str | None = None) -> None:
        await self._accounting.sign(self._store, unsigned, block=block, archive=archive)

    def settings_of(self, miner: str) -> Settings | None:
        known = self._accounting.settings.of(miner)
        return None if known is None else known.settings

    async def settings_event(self, settings: str) -> VerifiedEvent | None:
        return await self._accounting.find(settings, SETTINGS)

    def attestations(self, miners: Collection[str], days: range) -> list[Seen]:
        self._accounting.attestations.forget(days.start)
        return self._accounting.attestations.of(miners, days)

    def knows_attestations(self) -> bool:
        return self._accounting.attestations.is_whole

    async def requested_archives(self) -> list[ArchiveBody]:
        return await self._store.archives()

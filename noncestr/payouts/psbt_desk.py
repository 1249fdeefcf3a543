"""What an operator asks of batches that wait for a signature. Plain values in and out, for the socket."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from noncestr.errors import NoncestrError
from zapper.errors import ZapperError
from zapper.node_wallet import NodeRefusal
from zapper.signing import Proposal, Signing

SERVICES = ("psbt_list", "psbt_show", "psbt_submit", "psbt_cancel")


class Sends(Protocol):
    """The zapper, as far as this goes."""

    async def reconcile(self) -> None: ...


@dataclass(frozen=True, slots=True)
class PsbtDesk:
    """`zapper` is None on the folder of a pool that does not run: then batches are shown, no more."""

    signing: Signing
    zapper: Sends | None = None

    def services(self) -> Mapping[str, Callable[..., Awaitable[Any]]]:
        """By name, as the socket serves them."""
        return {name: getattr(self, name.removeprefix("psbt_")) for name in SERVICES}

    async def list(self) -> dict[str, Any]:
        """The batches that wait, oldest first; without their PSBTs."""
        return {"batches": [_row(each) for each in await self.signing.waiting()]}

    async def show(self, which: str) -> dict[str, Any]:
        """One whole, to be signed; `which`: its id or the beginning of it."""
        try:
            proposal = await self.signing.show(which)
        except ZapperError as error:
            raise NoncestrError(str(error)) from error
        return {**_row(proposal), "psbt": proposal.psbt}

    async def submit(self, signed: str) -> dict[str, Any]:
        """A signed one, as PSBT in base64 or transaction in hex; `complete`: it is sent at once, else signatures are
        missing, and what is there was kept.
        """
        try:
            proposal, complete = await self.signing.hand_in(signed)
        except (ZapperError, NodeRefusal) as error:
            raise NoncestrError(str(error)) from error
        if complete:
            await self._go_on()
        return {**_row(proposal), "complete": complete}

    async def cancel(self, which: str, spent_by: str, unsigned: str) -> dict[str, Any]:
        """Give one up; see `zapper.signing.Signing.cancel`. Who is in the answer's payees is due again."""
        try:
            proposal = await self.signing.cancel(which, spent_by=spent_by, unsigned=unsigned)
        except (ZapperError, NodeRefusal) as error:
            raise NoncestrError(str(error)) from error
        await self._go_on()
        return _row(proposal)

    async def _go_on(self) -> None:
        if self.zapper is not None:
            await self.zapper.reconcile()


def psbt_services(desk: Callable[[], PsbtDesk | None]) -> Mapping[str, Callable[..., Awaitable[Any]]]:
    """The services of a desk that is not there yet, or never will be."""

    def named(name: str) -> Callable[..., Awaitable[Any]]:
        async def serve(*args: Any) -> Any:
            found = desk()
            if found is None:
                raise NoncestrError("nobody is paid by this pool (or not yet): [payouts] names the wallet")
            return await found.services()[name](*args)

        return serve

    return {name: named(name) for name in SERVICES}


def _row(proposal: Proposal) -> dict[str, Any]:
    """Amounts in msat and sat, times in Unix ms."""
    return {
        "txid": proposal.batch.txid,
        "since_ms": proposal.since_ms,
        "shown_ms": proposal.shown_ms,
        "fee_sat": proposal.batch.fee_sat,
        "amount_msat": proposal.amount_msat,
        "inputs": [f"{txid}:{vout}" for txid, vout in proposal.batch.inputs],
        "payees": [
            {"payout_id": each.payout_id, "miner": each.miner, "amount_msat": each.amount_msat, "to": each.destination}
            for each in proposal.intents
        ],
    }

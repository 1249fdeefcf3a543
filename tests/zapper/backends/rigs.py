"""Each backend with a wallet behind it, in one shape for the conformance suite."""

import base64
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nips.bolt11 import Invoice, decode_invoice
from tests.zapper.backends import scripted_nodes as nodes
from tests.zapper.backends.scripted_http import FAULTS, ScriptedHttp, serve
from tests.zapper.backends.scripted_ledger import ScriptedLedger
from zapper.adapters.cln_backend import RUNE_HEADER, open_cln_backend
from zapper.adapters.fake_backend import FakeLightning, open_fake_lightning
from zapper.adapters.lnbits_backend import KEY_HEADER, open_lnbits_backend
from zapper.adapters.lnd_backend import MACAROON_HEADER, open_lnd_backend
from zapper.adapters.phoenixd_backend import open_phoenixd_backend
from zapper.adapters.wallet_http import WalletServer
from zapper.ports import LightningBackend
from zapper.secret import Secret

BALANCE_MSAT = 1_000_000
# What another node's wallet would be asked with.
WRONG = "bad0" * 16
IMPATIENT_S = 0.3


class RigClock:
    """Unix seconds that pass when told."""

    def __init__(self, now_s: int) -> None:
        self.now_s = now_s

    def __call__(self) -> int:
        return self.now_s


class Rig:
    """A wallet of BALANCE_MSAT. `secrets`: what must never be seen. `caps`: orders carry the fee limit."""

    fee_msat = 0
    secrets: tuple[str, ...] = ()
    caps = False

    def open(self) -> AbstractAsyncContextManager[LightningBackend]:
        """A backend as a pool that just started has it."""
        raise NotImplementedError

    async def invoice(self, amount_msat: int = 100_000) -> Invoice:
        """One that can be paid."""
        raise NotImplementedError

    async def alien(self) -> Invoice:
        """One the wallet has no way to."""
        raise NotImplementedError

    async def balance_msat(self) -> int:
        raise NotImplementedError

    async def times_paid(self, invoice: Invoice) -> int:
        raise NotImplementedError


class FakeRig(Rig):
    """The demo's wallet: it pays at once or not at all, and is never away."""

    def __init__(self, folder: Path, clock: RigClock, node: FakeLightning, other: FakeLightning) -> None:
        self._folder, self._clock, self._node, self._other = folder, clock, node, other
        self._accounts: dict[str, str] = {}

    def open(self) -> AbstractAsyncContextManager[LightningBackend]:
        return open_fake(self._folder / "fake.sqlite", self._clock)

    async def invoice(self, amount_msat: int = 100_000) -> Invoice:
        account = str(len(self._accounts))
        text = await self._node.create_invoice(amount_msat=amount_msat, description_hash="ab" * 32, account=account)
        invoice = decode_invoice(text)
        self._accounts[invoice.payment_hash] = account
        return invoice

    async def alien(self) -> Invoice:
        return decode_invoice(
            await self._other.create_invoice(amount_msat=1000, description_hash="ab" * 32, account="x")
        )

    async def balance_msat(self) -> int:
        return await self._node.balance_msat()

    async def times_paid(self, invoice: Invoice) -> int:
        received = await self._node.account_msat(self._accounts.get(invoice.payment_hash, "x"))
        return received // (invoice.amount_msat or 1)


def open_fake(path: Path, clock: RigClock) -> AbstractAsyncContextManager[FakeLightning]:
    return open_fake_lightning(path, network="regtest", balance_msat=BALANCE_MSAT, clock=clock)


@asynccontextmanager
async def fake_rig(folder: Path, clock: RigClock) -> AsyncIterator[FakeRig]:
    async with open_fake(folder / "fake.sqlite", clock) as node, open_fake(folder / "other.sqlite", clock) as other:
        yield FakeRig(folder, clock, node, other)


class ScriptedRig(Rig):
    """A wallet over a scripted ledger. `faults` it can be told to have, and "lie": a wrong preimage to an order it
    carries out. Of them `silent`: no answer comes, and `pays_anyway`: it carries out what it is told.
    """

    faults: tuple[str, ...] = ()
    silent: tuple[str, ...] = ("slow",)
    pays_anyway: tuple[str, ...] = ("lost", "lie")

    def __init__(self, ledger: ScriptedLedger, clock: RigClock) -> None:
        self.ledger = ledger
        self.clock = clock
        self.fee_msat = ledger.fee_msat

    def open(self, *, good: bool = True, impatient: bool = False) -> AbstractAsyncContextManager[LightningBackend]:
        """`good` false: with wrong credentials. `impatient`: it waits for IMPATIENT_S only."""
        raise NotImplementedError

    def fault(self, mode: str, *, only_orders: bool = False) -> None:
        """What the wallet does from now on, to all questions or only to orders to pay; "" ends it."""
        raise NotImplementedError

    async def invoice(self, amount_msat: int = 100_000) -> Invoice:
        return self.ledger.invoice(amount_msat)

    async def alien(self) -> Invoice:
        return self.ledger.alien()

    async def balance_msat(self) -> int:
        return self.ledger.balance_msat

    async def times_paid(self, invoice: Invoice) -> int:
        return self.ledger.times_paid[invoice.payment_hash]


@dataclass(frozen=True)
class Http:
    """How a backend over HTTP is scripted and opened. `header`: of its secret, None for a password."""

    script: Callable[[ScriptedLedger], nodes.Answer]
    open: Callable[..., AbstractAsyncContextManager[LightningBackend]]
    secret: str
    header: str | None
    takes_clock: bool = False
    caps: bool = False


HTTP = {
    "lnd": Http(nodes.lnd, open_lnd_backend, nodes.MACAROON, MACAROON_HEADER, caps=True),
    "cln": Http(nodes.cln, open_cln_backend, nodes.RUNE, RUNE_HEADER, takes_clock=True, caps=True),
    "lnbits": Http(nodes.lnbits, open_lnbits_backend, nodes.KEY, KEY_HEADER),
    "phoenixd": Http(nodes.phoenixd, open_phoenixd_backend, nodes.PASSWORD, None),
}


class HttpRig(ScriptedRig):
    faults = FAULTS

    def __init__(self, how: Http, server: ScriptedHttp, ledger: ScriptedLedger, clock: RigClock) -> None:
        super().__init__(ledger, clock)
        self.how, self.server = how, server
        # Basic authentication sends it in another form.
        self.secrets = (how.secret, base64.b64encode(f":{how.secret}".encode()).decode())
        self.caps = how.caps

    def open(self, *, good: bool = True, impatient: bool = False) -> AbstractAsyncContextManager[LightningBackend]:
        secret = Secret(self.how.secret if good else WRONG)
        told: dict[str, Any] = {"ask_timeout_s": IMPATIENT_S, "pay_timeout_s": IMPATIENT_S} if impatient else {}
        if self.how.header is None:
            told["basic_password"] = secret
        else:
            told["headers"] = {self.how.header: secret}
        more = {"clock": self.clock} if self.how.takes_clock else {}
        return self.how.open(WalletServer(self.server.url, **told), **more)

    def fault(self, mode: str, *, only_orders: bool = False) -> None:
        self.server.mode, self.server.only_orders = mode, only_orders


@asynccontextmanager
async def http_rig(kind: str, ledger: ScriptedLedger, clock: RigClock) -> AsyncIterator[HttpRig]:
    async with serve(HTTP[kind].script(ledger)) as server:
        yield HttpRig(HTTP[kind], server, ledger, clock)

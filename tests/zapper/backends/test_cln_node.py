"""The Core Lightning backend against real nodes on regtest, if NONCESTR_LIGHTNINGD and NONCESTR_BITCOIND name them.

They are built by hand (docs/payouts.md); 24.11.2 is what was tried, with its own clnrest, for whose Python PATH sees.
"""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from nips.bolt11 import Invoice, decode_invoice
from nips.nip57 import proves_payment
from zapper.adapters.cln_backend import RUNE_HEADER, ClnBackend, open_cln_backend
from zapper.adapters.wallet_http import WalletServer
from zapper.ports import FailedPayment, NotFound, Paid, Pending, Refused, Unclear
from zapper.secret import Secret

LIGHTNINGD, BITCOIND = (os.environ.get(f"NONCESTR_{name}", "") for name in ("LIGHTNINGD", "BITCOIND"))
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not (LIGHTNINGD and BITCOIND), reason="NONCESTR_LIGHTNINGD names no node"),
    pytest.mark.timeout(900),
]
WAIT_S = 240
CAP_MSAT = 50_000
CHANNEL_SAT = 1_000_000


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(told: Callable[[], Any], wait_s: float = WAIT_S) -> Any:
    """What it tells once that is something."""
    ends = time.monotonic() + wait_s
    while True:
        try:
            found = told()
        except (subprocess.CalledProcessError, OSError):
            found = None
        if found:
            return found
        assert time.monotonic() < ends, "it does not come about"
        time.sleep(0.2)


class Program:
    """A process of its own session, so that what it starts ends with it."""

    def __init__(self, command: list[str], log: Path) -> None:
        self._command, self._log = command, log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log, start_new_session=True)

    def signal(self, number: int) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        if self.process is not None:
            self.signal(signal.SIGKILL)
            self.process.wait()
            self.process = None


class Chain(Program):
    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.port = free_port()
        super().__init__(
            [
                *(BITCOIND, "-regtest", f"-datadir={folder}", f"-rpcport={self.port}", "-listen=0", "-server"),
                *("-rpcuser=u", "-rpcpassword=p", "-fallbackfee=0.00001", "-connect=0"),
            ],
            folder / "log",
        )

    def call(self, *words: str) -> str:
        cli = str(Path(BITCOIND).parent / "bitcoin-cli")
        command = [cli, "-regtest", f"-rpcport={self.port}", "-rpcuser=u", "-rpcpassword=p", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=WAIT_S).stdout.strip()


class Node(Program):
    def __init__(self, folder: Path, chain: Chain, *more: str) -> None:
        folder.mkdir()
        self.folder, self.port = folder, free_port()
        bin_folder = Path(BITCOIND).parent
        super().__init__(
            [
                *(LIGHTNINGD, "--network=regtest", f"--lightning-dir={folder}", f"--bind-addr=127.0.0.1:{self.port}"),
                *(f"--bitcoin-cli={bin_folder / 'bitcoin-cli'}", "--bitcoin-rpcuser=u", "--bitcoin-rpcpassword=p"),
                *(f"--bitcoin-rpcport={chain.port}", "--developer", "--dev-fast-gossip", "--dev-bitcoind-poll=1"),
                *("--log-level=debug", "--allow-deprecated-apis=false", *more),
            ],
            folder / "log",
        )

    def call(self, method: str, **params: Any) -> Any:
        cli = str(Path(LIGHTNINGD).parent.parent / "cli" / "lightning-cli")
        words = [f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in params.items()]
        command = [cli, "--network=regtest", f"--lightning-dir={self.folder}", "-k", method, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=WAIT_S)
        return json.loads(done.stdout)

    def invoice(self, msat: int, expiry_s: int = 3600) -> Invoice:
        label = str(time.monotonic_ns())
        made = self.call("invoice", amount_msat=msat, label=label, description="mining", expiry=expiry_s)
        return decode_invoice(made["bolt11"])

    def received(self, invoice: Invoice) -> int:
        [found] = self.call("listinvoices", payment_hash=invoice.payment_hash)["invoices"]
        return int(found["status"] == "paid")


class House:
    """Our node and a miner's, a channel between them; `rune` pays and looks, no more."""

    def __init__(self, chain: Chain, ours: Node, theirs: Node, rest_port: int) -> None:
        self.chain, self.ours, self.theirs, self._rest_port = chain, ours, theirs, rest_port
        self.rune = ""

    def fill(self) -> None:
        until(lambda: self.chain.call("getblockcount"))
        address = until(lambda: self.ours.call("newaddr", addresstype="bech32"))["bech32"]
        until(lambda: self.theirs.call("getinfo"))
        self.chain.call("generatetoaddress", "110", address)
        until(lambda: self.ours.call("listfunds")["outputs"])
        peer = self.theirs.call("getinfo")["id"]
        self.ours.call("connect", id=peer, host="127.0.0.1", port=self.theirs.port)
        until(lambda: self.ours.call("getinfo")["blockheight"] == 110)
        self.ours.call("fundchannel", id=peer, amount=CHANNEL_SAT)
        self.chain.call("generatetoaddress", "6", address)
        until(self.is_open)
        restrictions = [["method=xpay", "method=listpays", "method=listpeerchannels"]]
        self.rune = self.ours.call("createrune", restrictions=restrictions)["rune"]
        self.until_served()

    def is_open(self) -> bool:
        return all(
            [each["state"] for each in node.call("listpeerchannels")["channels"]] == ["CHANNELD_NORMAL"]
            and all(each["peer_connected"] for each in node.call("listpeerchannels")["channels"])
            for node in (self.ours, self.theirs)
        )

    def until_served(self) -> None:
        def answers() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self._rest_port)) == 0

        until(answers)

    def open(self, rune: str = "", pay_timeout_s: float = 60) -> AbstractAsyncContextManager[ClnBackend]:
        headers = {RUNE_HEADER: Secret(rune or self.rune)}
        url = f"http://127.0.0.1:{self._rest_port}"
        return open_cln_backend(WalletServer(url, headers, pay_timeout_s=pay_timeout_s))

    def times_sent(self, invoice: Invoice) -> int:
        sent = self.ours.call("listsendpays", payment_hash=invoice.payment_hash)["payments"]
        return sum(each["status"] == "complete" for each in sent)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    # Sockets have short names.
    folder = tmp_path_factory.mktemp("cln")
    with ExitStack() as stack:
        chain, rest_port = Chain(folder / "chain"), free_port()
        rest = [f"--clnrest-port={rest_port}", "--clnrest-protocol=http", "--clnrest-host=127.0.0.1"]
        ours, theirs = Node(folder / "a", chain, *rest), Node(folder / "b", chain)
        for program in (chain, ours, theirs):
            stack.callback(program.kill)
        chain.start()
        until(lambda: chain.call("getblockcount"))
        ours.start()
        theirs.start()
        found = House(chain, ours, theirs, rest_port)
        found.fill()
        yield found


async def answer_of(asked: Any) -> Any:
    try:
        return await asked
    except Exception as error:
        return Unclear(repr(error) + str(error))


async def settled(backend: ClnBackend, invoice: Invoice) -> Any:
    """What became of it, once that is known."""
    with anyio.fail_after(WAIT_S):
        while True:
            answer = await answer_of(backend.lookup(invoice.payment_hash))
            if not isinstance(answer, Pending | Unclear):
                return answer
            await anyio.sleep(0.5)


async def test_a_payment_is_made_once_and_found_again(house: House) -> None:
    async with house.open() as backend:
        before = await backend.balance_msat()
        assert 0 < before < CHANNEL_SAT * 1000
        assert await backend.lookup("12" * 32) == NotFound()
        invoice = house.theirs.invoice(123_000)
        assert await backend.lookup(invoice.payment_hash) == NotFound()
        done = await backend.pay(invoice, max_fee_msat=CAP_MSAT)
        assert isinstance(done, Paid), done
        assert proves_payment(done.preimage, invoice.payment_hash)
        assert await backend.lookup(invoice.payment_hash) == done
        assert await backend.pay(invoice, max_fee_msat=CAP_MSAT) == done
        assert (house.theirs.received(invoice), house.times_sent(invoice)) == (1, 1)
        assert before - await backend.balance_msat() >= 123_000
    async with house.open() as backend:
        assert await backend.pay(invoice, max_fee_msat=CAP_MSAT) == done
    assert house.times_sent(invoice) == 1


async def test_what_cannot_be_paid(house: House, make_invoice: Callable[..., str]) -> None:
    async with house.open() as backend:
        rich = house.theirs.invoice(2 * CHANNEL_SAT * 1000)
        alien = decode_invoice(
            make_invoice(
                preimage=b"elsewhere", amount_msat=10_000, description_hash="ab" * 32, created_at=int(time.time())
            )
        )
        gone = house.theirs.invoice(5_000)
        house.theirs.call("delinvoice", label=label_of(house, gone), status="unpaid")
        late = house.theirs.invoice(5_000, expiry_s=1)
        await anyio.sleep(2)
        for invoice in (rich, alien, gone, late):
            answer = await backend.pay(invoice, max_fee_msat=CAP_MSAT)
            assert isinstance(answer, Refused), (invoice.amount_msat, answer)
            assert answer.reason
            assert isinstance(await settled(backend, invoice), NotFound | FailedPayment)
            assert house.times_sent(invoice) == 0


def label_of(house: House, invoice: Invoice) -> str:
    [found] = house.theirs.call("listinvoices", payment_hash=invoice.payment_hash)["invoices"]
    return str(found["label"])


async def test_wrong_credentials_prove_nothing(house: House) -> None:
    other = house.ours.call("createrune", restrictions=[["method=getinfo"]])["rune"]
    for rune in (other, "bad0" * 16):
        fresh = house.theirs.invoice(7_000)
        async with house.open(rune) as backend:
            assert isinstance(await answer_of(backend.lookup(fresh.payment_hash)), Unclear)
            assert isinstance(await answer_of(backend.pay(fresh, max_fee_msat=CAP_MSAT)), Unclear)
            assert isinstance(await answer_of(backend.balance_msat()), Unclear)
        assert house.times_sent(fresh) == 0


# The fourth, a kill before a failure, stayed pending for four minutes (docs/payouts.md).
@pytest.mark.parametrize(("succeeds", "restarts"), [(True, False), (True, True), (False, False)])
async def test_a_payee_that_keeps_silent(house: House, succeeds: bool, restarts: bool) -> None:
    """Pending while its node stands still, then what became of it; also when ours is killed in between."""
    invoice = house.theirs.invoice(50_000, expiry_s=3600 if succeeds else 15)
    async with house.open(pay_timeout_s=10) as backend:
        house.theirs.signal(signal.SIGSTOP)
        try:
            assert isinstance(await answer_of(backend.pay(invoice, max_fee_msat=CAP_MSAT)), Unclear)
            assert await backend.lookup(invoice.payment_hash) == Pending()
            assert isinstance(await answer_of(backend.pay(invoice, max_fee_msat=CAP_MSAT)), Unclear)
            if restarts:
                house.ours.kill()
                house.ours.start()
                until(lambda: house.ours.call("getinfo"))
                house.until_served()
                assert isinstance(await answer_of(backend.lookup(invoice.payment_hash)), Pending | Unclear)
            if not succeeds:
                await anyio.sleep(16)
        finally:
            house.theirs.signal(signal.SIGCONT)
        if restarts:
            # It dials again by itself; told to, it does not wait with that.
            info = house.theirs.call("getinfo")
            until(lambda: house.ours.call("connect", id=info["id"], host="127.0.0.1", port=house.theirs.port))
            until(house.is_open)
        answer = await settled(backend, invoice)
        assert isinstance(answer, Paid if succeeds else FailedPayment), answer
        again = await answer_of(backend.pay(invoice, max_fee_msat=CAP_MSAT))
        assert again == answer if succeeds else isinstance(again, Refused)
    assert (house.theirs.received(invoice), house.times_sent(invoice)) == (int(succeeds), int(succeeds))

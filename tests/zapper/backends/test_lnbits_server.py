"""The LNbits backend against a real LNbits server with its FakeWallet, if NONCESTR_LNBITS names the program.

It is installed by hand, in an environment of its own outside of the tree (docs/payouts.md); 1.6.2 is what was tried.
The server starts in the folder it is installed in, as it wants to, with its data in the test's folder.
"""

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import httpx
import pytest

from nips.bolt11 import Invoice, decode_invoice
from nips.nip57 import proves_payment
from zapper.adapters.lnbits_backend import KEY_HEADER, LnbitsBackend, open_lnbits_backend
from zapper.adapters.wallet_http import WalletServer
from zapper.ports import FailedPayment, NotFound, Paid, Refused
from zapper.secret import Secret

PROGRAM = os.environ.get("NONCESTR_LNBITS", "")
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not PROGRAM, reason="NONCESTR_LNBITS names no lnbits program (docs/payouts.md)"),
    pytest.mark.timeout(300),
]
START_S = 120
LOGIN = {"username": "superadmin", "password": "for tests only"}
CAP_MSAT = 50_000


class Server:
    """A server that can be stopped and started again with the same data."""

    def __init__(self, data: Path) -> None:
        self._data = data
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def run(self) -> AsyncIterator[httpx.AsyncClient]:
        packages = next((Path(PROGRAM).parent.parent / "lib").glob("python3*/site-packages"))
        process = await asyncio.create_subprocess_exec(
            PROGRAM,
            *("--host", "127.0.0.1", "--port", str(self.port)),
            cwd=packages,
            env={
                "PATH": os.environ["PATH"],
                "LNBITS_DATA_FOLDER": str(self._data),
                "LNBITS_EXTENSIONS_PATH": str(self._data),
                "LNBITS_BACKEND_WALLET_CLASS": "FakeWallet",
                "FAKE_WALLET_SECRET": "for tests only",
                "LNBITS_ADMIN_UI": "true",
            },
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            # The program serves from a child of its own.
            start_new_session=True,
        )
        try:
            async with httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=60) as client:
                with anyio.fail_after(START_S):
                    while not await answers(client):  # noqa: ASYNC110 - another program
                        await anyio.sleep(0.2)
                yield client
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            with anyio.CancelScope(shield=True):
                await process.wait()
                await anyio.to_thread.run_sync(self._gone)

    def _gone(self) -> None:
        """Until nobody listens any more: the next server is another one."""
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) != 0:
                    return
            time.sleep(0.05)
        raise AssertionError("the server does not end")


async def answers(client: httpx.AsyncClient) -> bool:
    try:
        # Before its first installation it leads elsewhere.
        return (await client.get("/api/v1/health")).status_code < 400
    except httpx.HTTPError:
        return False


async def wallet_of(client: httpx.AsyncClient, name: str) -> dict[str, str]:
    made = await client.post("/api/v1/account", json={"name": name})
    assert made.status_code in (200, 201), made.text
    return made.json()


async def invoice_of(client: httpx.AsyncClient, wallet: dict[str, str], sat: int) -> Invoice:
    made = await client.post(
        "/api/v1/payments", headers={KEY_HEADER: wallet["inkey"]}, json={"out": False, "amount": sat, "memo": "x"}
    )
    assert made.status_code == 201, made.text
    return decode_invoice(made.json()["bolt11"])


@asynccontextmanager
async def backend_of(server: Server, key: str) -> AsyncIterator[LnbitsBackend]:
    async with open_lnbits_backend(WalletServer(server.url, {KEY_HEADER: Secret(key)})) as backend:
        yield backend


async def test_a_wallets_life(tmp_path: Path, make_invoice: Callable[..., str]) -> None:
    server = Server(tmp_path)
    async with server.run() as client:
        await client.put("/api/v1/auth/first_install", json={**LOGIN, "password_repeat": LOGIN["password"]})
        login = await client.post("/api/v1/auth", json=LOGIN)
        client.headers["Authorization"] = f"Bearer {login.json()['access_token']}"
        pool, miner = await wallet_of(client, "pool"), await wallet_of(client, "miner")
        funded = await client.put("/users/api/v1/balance", json={"id": pool["id"], "amount": 1_000})
        assert funded.status_code == 200, funded.text

        async with backend_of(server, pool["adminkey"]) as backend:
            assert await backend.balance_msat() == 1_000_000
            assert await backend.lookup("12" * 32) == NotFound()
            invoice = await invoice_of(client, miner, 100)
            assert await backend.lookup(invoice.payment_hash) == NotFound()

            done = await backend.pay(invoice, max_fee_msat=CAP_MSAT)
            assert isinstance(done, Paid)
            assert proves_payment(done.preimage, invoice.payment_hash)
            assert done.fee_msat == 0
            assert await backend.lookup(invoice.payment_hash) == done
            assert await backend.pay(invoice, max_fee_msat=CAP_MSAT) == done
            assert await backend.balance_msat() == 900_000

            rich = await invoice_of(client, miner, 5_000)
            assert isinstance(refused := await backend.pay(rich, max_fee_msat=CAP_MSAT), Refused)
            assert "nsufficient" in refused.reason
            assert isinstance(await backend.lookup(rich.payment_hash), NotFound | FailedPayment)

            dear = await invoice_of(client, miner, 10)
            assert isinstance(await backend.pay(dear, max_fee_msat=1), Refused)
            assert await backend.lookup(dear.payment_hash) == NotFound()

            alien = decode_invoice(
                make_invoice(
                    preimage=b"elsewhere",
                    amount_msat=10_000,
                    description_hash="ab" * 32,
                    created_at=int(time.time()),
                    currency="bc",
                )
            )
            assert isinstance(await backend.pay(alien, max_fee_msat=CAP_MSAT), Refused)
            assert isinstance(await backend.lookup(alien.payment_hash), NotFound | FailedPayment)
            assert await backend.balance_msat() == 900_000

            own = await invoice_of(client, pool, 10)
            with pytest.raises(Exception, match="not of a payment out of it"):
                await backend.lookup(own.payment_hash)

        for key in ("ab" * 16, pool["inkey"]):
            async with backend_of(server, key) as backend:
                fresh = await invoice_of(client, miner, 7)
                answer: object
                try:
                    answer = await backend.pay(fresh, max_fee_msat=CAP_MSAT)
                except Exception as error:
                    answer = error
                assert not isinstance(answer, Paid)
        async with backend_of(server, "ab" * 16) as backend:
            # Its 404 for a wrong key reads as for a payment nobody made.
            with pytest.raises(Exception, match="404"):
                await backend.lookup("12" * 32)
            with pytest.raises(Exception, match="200"):
                await backend.lookup(invoice.payment_hash)

    async with server.run(), backend_of(server, pool["adminkey"]) as backend:
        assert await backend.lookup(invoice.payment_hash) == done
        assert await backend.pay(invoice, max_fee_msat=CAP_MSAT) == done
        assert await backend.balance_msat() == 900_000

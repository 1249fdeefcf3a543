"""Keys, macaroons, runes and passwords are in no log, no exception, no repr and no name, whatever the wallet does."""

import logging
import traceback

import pytest

from tests.zapper.backends.rigs import WRONG
from zapper.adapters.wallet_http import WalletServer
from zapper.secret import HIDDEN, Secret, hide

pytestmark = pytest.mark.anyio
KINDS = ("lnd", "cln", "lnbits", "phoenixd", "nwc", "nwc-sdk")


async def told_by(backend, invoice, seen: list[str]) -> None:
    """Everything a backend says, shows or raises."""
    for ask in (
        lambda: backend.balance_msat(),
        lambda: backend.lookup(invoice.payment_hash),
        lambda: backend.pay(invoice, max_fee_msat=50_000),
    ):
        try:
            seen.append(repr(await ask()))
        except Exception as error:
            seen += [str(error), repr(error), *traceback.format_exception(error), repr(vars(error))]
    seen += [repr(backend), backend.name, repr(vars(backend))]
    for part in vars(backend).values():
        seen += [repr(part), repr(getattr(part, "__dict__", ""))]


@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_tells_a_secret(rig_of, caplog, kind: str) -> None:
    seen: list[str] = []
    with caplog.at_level(logging.DEBUG):
        async with rig_of(kind) as rig:
            for good in (True, False):
                # What wallets over relays do wrong is the same with all of them.
                faults = rig.faults if good and kind != "nwc-sdk" else ()
                for mode in ("", *(mode for mode in faults if mode != "huge")):
                    rig.fault(mode)
                    impatient = mode in rig.silent or (not good and kind == "nwc-sdk")
                    async with rig.open(good=good, impatient=impatient) as backend:
                        await told_by(backend, await rig.invoice(), seen)
            secrets = (*rig.secrets, WRONG)
    shown = "\n".join(seen) + caplog.text
    assert len(shown) > 2_000
    for secret in secrets:
        assert secret not in shown
    if kind in ("lnd", "cln", "lnbits", "phoenixd"):
        # The server that quotes what it was sent was heard, and its quotation hidden.
        assert "you sent" in shown
        assert HIDDEN in shown


def test_a_secret_hides_itself() -> None:
    secret = Secret("hunter2")
    server = WalletServer("https://a.example", {"X": secret}, basic_password=secret)
    for shown in (
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r:>20}",
        logging.makeLogRecord({"msg": "%s", "args": (secret,)}).getMessage(),
        repr([secret]),
        repr(server),
    ):
        assert "hunter2" not in shown
    assert secret.reveal() == "hunter2"
    assert hide("you sent hunter2, hunter2!", [secret]) == f"you sent {HIDDEN}, {HIDDEN}!"


@pytest.mark.parametrize("text", ["", " ", "two words", "line\nbreak", "ü", "tab\t"])
def test_what_is_no_secret(text: str) -> None:
    with pytest.raises(ValueError, match="printable") as raised:
        Secret(text)
    assert not text.strip() or text not in str(raised.value)

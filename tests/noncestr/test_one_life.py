"""One npub's whole life, by the command line and the relay alone: it mines, earns, is zapped, changes to nutzaps,
withdraws tokens, and `noncestr verify` proves each. What it is paid is redeemed with wallets of others.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
import websockets

from nips.bolt11 import decode_invoice
from nips.errors import NipError
from nips.keys import SecretKey
from nips.nip01 import Filter, UnsignedEvent, VerifiedEvent, encode_event, make_filter
from nips.nip17 import parse_chat
from nips.nip19 import encode_npub, parse_pubkey
from nips.nip24 import METADATA, Metadata, build_metadata
from nips.nip44 import KeyCipher
from nips.nip57 import ZAP_RECEIPT
from nips.nip59 import GIFT_WRAP, unwrap
from nips.nip61 import NUTZAP, ListedMint, build_info, parse_info, parse_nutzap
from nips.nut00_token import decode_token
from nips.pool import kinds
from nips.pool.address import PoolAddress
from nips.pool.payout import Payout, parse_payout
from nips.pool.settings import SettingsBody, build_settings
from nips.pool.withdrawal import WithdrawalBody, build_withdrawal
from relay_bridge.adapters.fetch import fetch_events
from tests.noncestr.test_demo_ecash import PATIENCE, ROOT, Up
from tests.relay_bridge.conftest import installed_npm
from tests.zapper.test_nutshell import HERE as ZAPPER_TESTS
from tests.zapper.test_nutshell import cashu_ts, even, stock_wallet

WITHDRAWN_SAT = (1500, 1300)
# More than the miner can ever earn here: what it earns stays at the pool until it asks for it.
KEEP_MSAT = 10**15


class Person:
    """A miner with two keys, its npub's and its nutzap wallet's, and the pool's relay: nothing else of the pool."""

    def __init__(self, pool: Up) -> None:
        self.key, self.wallet = SecretKey(os.urandom(32)), SecretKey(os.urandom(32))
        self.npub = encode_npub(self.key.pubkey)
        self.pool = pool
        self.address = PoolAddress(parse_pubkey(pool.values["pool npub"]), "regtest")
        self._dated = 0

    def fetch(self, **wanted: Any) -> list[VerifiedEvent]:
        asked: list[Filter] = [make_filter(**wanted)]

        async def ask() -> list[VerifiedEvent]:
            return list((await fetch_events([self.pool.values["relay"]], asked, timeout_s=60)).events)

        return anyio.run(ask)

    def now(self) -> int:
        """The date of the next event: of two with one date the newer would not always win."""
        self._dated = max(self._dated + 1, int(time.time()))
        return self._dated

    def say(self, unsigned: UnsignedEvent) -> VerifiedEvent:
        event = self.key.sign(unsigned)

        async def send() -> list[Any]:
            async with websockets.connect(self.pool.values["relay"], open_timeout=60) as socket:
                await socket.send('["EVENT",' + encode_event(event).decode() + "]")
                while True:
                    with anyio.fail_after(60):
                        answer = json.loads(await socket.recv())
                    if answer[0] == "OK":
                        return list(answer[:3])

        assert anyio.run(send) == ["OK", event.id, True]
        return event

    def payouts(self, method: str) -> list[Payout]:
        events = self.fetch(kinds=[kinds.PAYOUT], tags={"p": [self.key.pubkey]})
        return [payout for payout in map(parse_payout, events) if payout.method == method]

    def tokens(self) -> dict[int, str]:
        """What the pool sent by message, by the amount in sat."""
        found = {}
        for event in self.fetch(kinds=[GIFT_WRAP], tags={"p": [self.key.pubkey]}):
            try:
                chat = parse_chat(unwrap(event, KeyCipher(self.key)))
            except NipError:
                continue
            for line in chat.text.splitlines():
                if line.startswith("cashuB"):
                    found[sum(proof.amount for proof in decode_token(line).proofs)] = line
        return found


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Up]:
    up = Up(tmp_path / "data")
    yield up
    if up.process.poll() is None:
        up.end(signal.SIGKILL)


def noncestr(pool: Up, *words: str) -> tuple[int, dict[str, Any]]:
    """A command with --json: its status and what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "noncestr", *words, "--json"],
        env=pool.env, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.timeout(600)
def test_an_npub_mines_and_is_paid_in_each_way_and_verify_proves_it(tmp_path: Path, pool: Up) -> None:
    person = Person(pool)
    miner, mint = person.key.pubkey, pool.values["mint"]
    record = tmp_path / "record.jsonl"
    # It has an address at the demo miners' provider, which their profiles name.
    found: list[VerifiedEvent] = []

    def provider_is_known() -> bool:
        found.extend(event for event in person.fetch(kinds=[METADATA]) if "lud16" in event.content)
        return bool(found)

    pool.until(provider_is_known)
    address = f"{person.npub}@{json.loads(found[0].content)['lud16'].split('@')[1]}"
    profile = person.say(build_metadata(Metadata(name="zoe", lud16=address), created_at=person.now()))
    mining = subprocess.Popen(
        [
            *(sys.executable, "-m", "noncestr", "miner", "--url", pool.values["Stratum"], "--max-hps", "60000"),
            *("--user", f"{person.npub}.life", "--record", str(record)),
        ],
        env=pool.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        # It earns and is zapped. Its provider says so too: in time to stand in the record, at one of the first zaps.
        pool.until(lambda: any("receipt" in payout.proof for payout in person.payouts("zap")))
        zap = next(payout for payout in person.payouts("zap") if "receipt" in payout.proof)
        assert zap.to == profile.id
        invoice = decode_invoice(zap.proof["bolt11"])
        assert hashlib.sha256(bytes.fromhex(zap.proof["preimage"])).hexdigest() == invoice.payment_hash
        [receipt] = person.fetch(ids=[zap.proof["receipt"]])
        assert (receipt.kind, receipt.tag_value("p")) == (ZAP_RECEIPT, miner)
        assert person.payouts("nutzap") == person.payouts("cashu") == []

        # It changes to nutzaps, by its own word.
        info = person.say(
            build_info(
                pubkey=person.wallet.pubkey,
                mints=[ListedMint(mint, frozenset({"sat"}))],
                relays=[pool.values["relay"]],
                created_at=person.now(),
            )
        )
        person.say(build_settings(person.address.pubkey, SettingsBody(methods=("nutzap",)), person.now()))
        pool.until(lambda: bool(person.payouts("nutzap")))
        paid = person.payouts("nutzap")[0]
        assert paid.to == info.id
        [event] = person.fetch(ids=[paid.proof["nutzap"]])
        assert event.kind == NUTZAP
        nutzap = parse_nutzap(event, parse_info(info))

        # It lets the rest stand at the pool, and asks for two parts of it as tokens.
        keep = SettingsBody(methods=("nutzap",), minimum_msat=KEEP_MSAT)
        person.say(build_settings(person.address.pubkey, keep, person.now()))
        asked = [
            person.say(
                build_withdrawal(
                    person.address,
                    zap.signer,
                    WithdrawalBody("cashu", sat * 1000, "", int(time.time()) + 3600),
                    person.now(),
                )
            ).id
            for sat in WITHDRAWN_SAT
        ]
        pool.until(lambda: set(WITHDRAWN_SAT) <= set(person.tokens()))
        pool.until(lambda: len(person.payouts("cashu")) == len(asked))
    finally:
        mining.terminate()
        mining.wait(60)
    assert {payout.to: payout.amount_msat for payout in person.payouts("cashu")} == {
        request: sat * 1000 for request, sat in zip(asked, WITHDRAWN_SAT, strict=True)
    }

    # Wallets of others take it all: Nutshell's a token; the JavaScript library the other, and the nutzap.
    tokens = person.tokens()
    first, second = WITHDRAWN_SAT
    token = {"token": tokens[first], "mint": mint, "privkey": even(person.key)}
    assert anyio.run(stock_wallet, tmp_path, token) == {"amount": first}
    assert "error" in anyio.run(stock_wallet, tmp_path, token)  # it serves once
    no_javascript = installed_npm(ZAPPER_TESTS / "npm")
    if not no_javascript:
        token = {"token": tokens[second], "mint": mint, "privkey": even(person.key)}
        assert anyio.run(cashu_ts, token) == {"amount": second}
        proofs = [json.loads(text) for text in event.tag_values("proof")]
        shown = {"mint": mint, "unit": "sat", "proofs": proofs, "privkey": even(person.wallet)}
        assert anyio.run(cashu_ts, shown) == {"amount": sum(proof.amount for proof in nutzap.proofs)}

    # All of it is proven by the log: its shares are credited, each payout is shown, none refuted.
    where = ("--relay", pool.values["relay"], "--pool", pool.values["pool npub"])
    status, report = noncestr(pool, "verify", *where, "--npub", person.npub, "--record", str(record), "--mint", mint)
    assert (status, [each for each in report["findings"] if each["grade"] != "not checked"]) == (0, [])
    assert report["record"]["credited"] > 0
    assert report["record"]["uncredited"] == []
    own = [payout for method in ("zap", "nutzap", "cashu") for payout in person.payouts(method)]
    [row] = [each for each in report["miners"] if each["miner"] == miner]
    assert row["paid_msat"] == sum(payout.amount_msat for payout in own) <= row["earned_msat"]
    # A zap whose receipt was too late for its record is its payer's word; all else is somebody else's too.
    late = sum(
        payout.method == "zap" and "receipt" not in payout.proof
        for payout in map(parse_payout, person.fetch(kinds=[kinds.PAYOUT]))
    )
    grades = report["payouts"]
    assert set(grades) <= {"proven", "attested", "claimed"}
    assert grades.get("claimed", 0) <= late
    # A zap by its provider's receipt; ecash by the mint's own keys, each of it.
    methods = report["payout_methods"]
    assert methods["zap"]["attested"] >= 1
    assert set(methods["nutzap"]) == set(methods["cashu"]) == {"proven"}
    assert methods["cashu"]["proven"] >= len(WITHDRAWN_SAT)
    # A file of the mint's keys proves the same without the mint; with neither the ecash is attested.
    kept = tmp_path / "keys.json"
    with kept.open("wb") as file:
        command = [sys.executable, "-m", "noncestr", "ecash", "keys", "--mint", mint]
        subprocess.run(command, env=pool.env, cwd=ROOT, stdout=file, timeout=PATIENCE, check=True)
    for words, grade in ((("--mint-keys", str(kept)), "proven"), ((), "attested")):
        status, again = noncestr(pool, "verify", *where, *words)
        assert status == 0
        assert set(again["payout_methods"]["nutzap"]) == set(again["payout_methods"]["cashu"]) == {grade}
    # The pool's own list of what it paid is the same.
    status, shown = noncestr(pool, "payouts", "show", person.npub, "--data", str(tmp_path / "data"), "--limit", "1000")
    assert status == 0
    settled = {each["payout_id"]: each["amount_msat"] for each in shown["payouts"] if each["state"] == "settled"}
    assert settled == {payout.payout_id: payout.amount_msat for payout in own}
    pool.end(signal.SIGINT)
    assert pool.process.returncode == 0
    if no_javascript:
        pytest.skip(f"all but the JavaScript wallet was tried: {no_javascript}")

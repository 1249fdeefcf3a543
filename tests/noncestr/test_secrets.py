"""Nothing secret in what a process says, nor in what its parts raise: keys, passphrase, wallets, services, seeds."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nips.keys import SecretKey
from nips.nip19 import encode_nsec
from nips.nip47 import parse_connection
from noncestr.alerts.operator_line import OperatorLine, read_services
from noncestr.config.file import load_config
from noncestr.keys.files import load, write_ncryptsec, write_nsec
from noncestr.keys.passphrase import Passphrase, read_passphrase
from noncestr.notices.lines import read_mail
from zapper.secret import Secret

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120
KEY = SecretKey(bytes(range(1, 33)))
HEX = KEY.secret_bytes().hex()
NSEC = encode_nsec(KEY.secret_bytes())
PHRASE = "correct-horse-battery"
NWC = f"nostr+walletconnect://{KEY.pubkey}?relay=wss://relay.example.com&secret={HEX}"
SERVICE = "hunter2"
SECRETS = (HEX, NSEC, PHRASE, SERVICE)


def said(error: BaseException) -> str:
    """All that a traceback would show, with the values of what is raised."""
    lines = traceback.TracebackException.from_exception(error, capture_locals=False).format()
    return "".join(lines) + repr(error)


def private(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def wrong(folder: Path) -> Iterator[Callable[[], object]]:
    """What goes wrong with a secret in hand, in each part that reads one."""
    yield lambda: load(private(folder / "open.nsec", NSEC, 0o644))
    yield lambda: load(private(folder / "cut.nsec", NSEC[:-1]))
    yield lambda: load(private(folder / "none.nsec", HEX[:-1]))
    encrypted = folder / "zapper.ncryptsec"
    write_ncryptsec(encrypted, KEY, PHRASE, 4)
    yield lambda: load(encrypted, lambda: PHRASE + "x")
    yield lambda: write_nsec(encrypted, KEY) or write_nsec(folder / "no" / "where" / "x.nsec", KEY)
    yield lambda: read_passphrase(private(folder / "phrase", PHRASE, 0o644))
    yield lambda: read_passphrase(private(folder / "empty", f"\n{PHRASE}"))
    yield lambda: parse_connection(NWC + "0")
    yield lambda: parse_connection(NWC.replace("wss://", "http://"))
    yield lambda: parse_connection(f"nostr+walletconnect://nobody?secret={HEX}")
    yield lambda: Secret(f"{HEX} {SERVICE}")
    yield lambda: OperatorLine([f"nonsense://user:{SERVICE}@example.com"])
    yield lambda: OperatorLine([f"mailto://{SERVICE}"])
    yield lambda: read_services(private(folder / "services", f"tgram://{SERVICE}/1", 0o640))
    yield lambda: read_services(private(folder / "unread", f"tgram://{SERVICE}"))
    yield lambda: read_mail(private(folder / "mail", f"mailtos://u:{SERVICE}@x.com"))
    yield lambda: read_mail(private(folder / "mails", f"mailtos://u:{SERVICE}@x.com?to={{to}}\n" * 2))
    bad = private(
        folder / "x.toml", f'[payouts]\nbackend = "nwc"\n[payouts.nwc]\nuri = 5\nuri_file = "{SERVICE[:0]}"\n'
    )
    yield lambda: load_config(bad, {"NONCESTR_PAYOUTS_LND_MACAROON": f"{HEX} {SERVICE}", "NONCESTR_WHAT": "x"})
    yield lambda: load_config(bad, {"NONCESTR_PAYOUTS_NWC_URI": NWC[:-3] + "zzz", "NONCESTR_POOL_NETWORK": "x"})


def test_what_parts_raise_holds_no_secret(tmp_path, caplog, capfd):
    caplog.set_level("DEBUG")
    count = 0
    for act in wrong(tmp_path):
        with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever each raises is looked at
            act()
        text = said(caught.value)
        for secret in SECRETS:
            assert secret not in text
            assert secret[:-1] not in text
        count += 1
    assert count >= 18
    out = "".join(capfd.readouterr()) + caplog.text
    for secret in SECRETS:
        assert secret not in out


def test_what_holds_a_secret_shows_none(tmp_path):
    shown = [
        KEY,
        Secret(HEX),
        parse_connection(NWC),
        Passphrase({"NONCESTR_PASSPHRASE": PHRASE}),
        read_services(private(tmp_path / "services", f"json://127.0.0.1:1/{SERVICE}")),
        read_mail(private(tmp_path / "mail", f"mailtos://u:{SERVICE}@x.com?to={{to}}")),
    ]
    for each in shown:
        text = f"{each!r} {each!s}"
        assert not any(secret in text for secret in SECRETS), type(each)


@pytest.mark.anyio
async def test_a_service_that_is_away_is_told_without_its_address(free_tcp_port, caplog):
    caplog.set_level("DEBUG")
    line = OperatorLine([f"json://user:{SERVICE}@127.0.0.1:{free_tcp_port}/x"])
    assert await line.send("t", "x") == ["json"]
    assert SERVICE not in "".join(
        record.getMessage() for record in caplog.records if record.name.startswith(("noncestr", "zapper"))
    )


FAST = {
    "NONCESTR_STRATUM_PORT": "0",
    "NONCESTR_RELAY_PORT": "0",
    "NONCESTR_WEB_PORT": "0",
    "NONCESTR_DEMO_LIGHTNING_PORT": "0",
    "NONCESTR_CHAIN_NETWORK_BLOCK_SECONDS": "2",
    "NONCESTR_CHAIN_BLOCK_SECONDS": "3",
    "NONCESTR_TERMS_BATCH_SECONDS": "1",
    "NONCESTR_TERMS_MATURITY_BLOCKS": "2",
    "NONCESTR_PAYOUTS_INTERVAL_SECONDS": "1",
    "NONCESTR_MINT_ENABLED": "true",
    "NONCESTR_LOG_LEVEL": "debug",
    "NONCESTR_NOTICES_NTFY": "true",
}


@pytest.mark.timeout(300)
def test_a_pool_that_pays_says_none_of_its_secrets(tmp_path):
    """`noncestr up` at level debug until it has paid: encrypted keys, services and a mail service that are away."""
    data = tmp_path / "data"
    (data / "keys").mkdir(parents=True, mode=0o700)
    write_ncryptsec(data / "keys" / "zapper.ncryptsec", KEY, PHRASE, 4)
    services = private(tmp_path / "services", f"json://user:{SERVICE}@127.0.0.1:1/x\n")
    mail = private(tmp_path / "mail", f"mailtos://u:{SERVICE}@smtp.example.com?to={{to}}\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NONCESTR_")}
    named = {
        "NONCESTR_PASSPHRASE_FILE": str(private(tmp_path / "phrase", PHRASE + "\n")),
        "NONCESTR_ALERTS_SERVICES": str(services),
        "NONCESTR_ALERTS_DISK_MIB": "10000000",
        "NONCESTR_NOTICES_MAIL": str(mail),
    }
    log = tmp_path / "up.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "noncestr", "up", "--data", str(data)],
            cwd=tmp_path,
            env={**kept, **FAST, **named, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            deadline = time.monotonic() + PATIENCE_S
            while "was not told by json" not in log.read_text() or not paid(data):
                assert process.poll() is None, log.read_text()[-3000:]
                assert time.monotonic() < deadline, log.read_text()[-3000:]
                time.sleep(0.5)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
    text = log.read_text()
    keys = [load(path) for path in (data / "keys").glob("*.nsec")]
    assert len(keys) >= 4
    secrets = [PHRASE, SERVICE, (data / "mint" / "key").read_text().strip()]
    for key in (KEY, *keys):
        secrets += [key.secret_bytes().hex(), encode_nsec(key.secret_bytes())]
    assert [secret for secret in secrets if secret in text] == []
    assert "DEBUG" in text


def paid(data: Path) -> bool:
    """Whether a payout record is at the pool's relay."""
    try:
        with sqlite3.connect(f"file:{data / 'payouts.sqlite'}?mode=ro", uri=True) as database:
            (count,) = database.execute("SELECT count(*) FROM intents WHERE state = 'settled'").fetchone()
    except sqlite3.Error:
        return False
    database.close()
    return count > 0

"""Nutshell's mint in a process of its own: `python -m noncestr.demo.mint_main`, started by `mint_process`.

The one place that imports the cashu package: importing it reads settings from the environment and from .env files, and
changes the process it is in. It listens on the loopback port it is told, says so on standard output once it answers,
and ends with its standard input, so that it never outlives the pool, however that ended.
"""

import os
import socket
import sqlite3
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

# What the pool says of the mint, by name; see `environment`.
FOLDER, KEY, PORT = "DEMO_MINT_FOLDER", "DEMO_MINT_KEY", "DEMO_MINT_PORT"

# How long requests under way may take to end when the pool is gone.
LAST_S = 5.0


def environment(folder: Path, key: str) -> dict[str, str]:
    """Nutshell's settings: a mint in sat on a pretended Lightning node that pays and is paid at once."""
    return {
        "MINT_PRIVATE_KEY": key,
        "MINT_DATABASE": str(folder),
        "MINT_AUTH_DATABASE": str(folder),
        "MINT_BACKEND_BOLT11_SAT": "FakeWallet",
        "FAKEWALLET_DELAY_INCOMING_PAYMENT": "0",
        "FAKEWALLET_DELAY_OUTGOING_PAYMENT": "0",
        # FakeWallet's balance is what its watchdog would compare with.
        "MINT_WATCHDOG_ENABLED": "FALSE",
        "MINT_INPUT_FEE_PPK": "0",
        "MINT_RATE_LIMIT": "FALSE",
        "MINT_INFO_NAME": "noncestr demo mint",
        "CASHU_DIR": str(folder),
        "TOR": "FALSE",
        "DEBUG": "FALSE",
        "LOG_LEVEL": "WARNING",
    }


def _forget_interrupted_swaps(database: Path) -> None:
    """A mint that was killed amid a swap keeps its inputs pending for good (Nutshell 0.20.2): nobody works on them now.

    Those of melts stay: Nutshell asks Lightning about them.
    """
    if database.exists():
        with closing(sqlite3.connect(database)) as connection, connection:
            connection.execute("DELETE FROM proofs_pending WHERE melt_quote IS NULL")


def main() -> None:
    """Serve until standard input ends."""
    folder = Path(os.environ[FOLDER])
    os.environ.update(environment(folder, os.environ[KEY]))
    _forget_interrupted_swaps(folder / "mint.sqlite3")
    import uvicorn
    from cashu.mint.app import app

    listener = socket.create_server(("127.0.0.1", int(os.environ[PORT])))

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            print("up", flush=True)

    # httptools parses: h11 is pinned old by cashu.
    config = uvicorn.Config(app, http="httptools", ws="none", log_level="warning", access_log=False)
    server = Server(config)

    def end_with_stdin() -> None:
        # Requests under way are finished: amid a swap its inputs would stay pending.
        sys.stdin.buffer.read()
        server.should_exit = True
        time.sleep(LAST_S)
        os._exit(0)

    threading.Thread(target=end_with_stdin, daemon=True).start()
    server.run(sockets=[listener])


if __name__ == "__main__":
    main()

"""Nutshell's own wallet in a process of its own: `python stock_wallet.py FOLDER` reads {"token", "privkey", "mint"}
from stdin, redeems the token as the command `cashu receive` does, and writes what it got.
"""

import asyncio
import json
import sys


async def redeem(folder: str, asked: dict[str, str]) -> int:
    from cashu.core.crypto.secp import PrivateKey
    from cashu.wallet.helpers import deserialize_token_from_string
    from cashu.wallet.wallet import Wallet

    wallet = await Wallet.with_db(asked["mint"], folder, "wallet", unit="sat")
    await wallet.load_mint()
    wallet.private_key = PrivateKey(bytes.fromhex(asked["privkey"]))
    token = deserialize_token_from_string(asked["token"])
    wallet.verify_proofs_dleq(token.proofs)
    kept, _ = await wallet.redeem(token.proofs)
    return sum(proof.amount for proof in kept)


try:
    answer = {"amount": asyncio.run(redeem(sys.argv[1], json.loads(sys.stdin.read())))}
except Exception as error:
    answer = {"error": f"{type(error).__name__} {error}"}
print(json.dumps(answer))  # noqa: T201 - how the test learns it

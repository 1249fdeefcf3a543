"""Who answers an operator about payouts: the pool that runs on the folder, else the folder itself."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio

from noncestr.commands.options import BACKEND_OPTIONS
from noncestr.errors import NoncestrError


def answer(data: Path, name: str, *args: Any, timeout_s: float = 60.0) -> Any:
    """From the pool that runs on the folder, else from the folder itself, which nobody else then has."""
    from noncestr.clock import WallClock  # the heavy imports are for the commands that need them
    from noncestr.edge.control import CONTROL, ask
    from noncestr.payouts.desk import PayoutDesk
    from noncestr.payouts.ecash_desk import EcashDesk
    from noncestr.payouts.psbt_desk import PsbtDesk
    from noncestr.payouts.wiring import STORE
    from noncestr.running import only_one
    from zapper.adapters.intent_store import open_intent_store
    from zapper.signing import Signing

    async def told() -> Any:
        try:
            with only_one(data):
                if not (data / STORE).exists():
                    raise NoncestrError(f"{data} has no payouts yet")
                async with open_intent_store(data / STORE) as store:
                    now_ms = WallClock().now_ms
                    desk = PayoutDesk(store, now_ms, ecash=EcashDesk(data, now_ms))
                    signing = Signing(store, store.chain, clock=now_ms, one_at_a_time=anyio.Lock())
                    services: dict[str, Callable[..., Awaitable[Any]]] = {
                        **desk.services(),
                        **PsbtDesk(signing).services(),
                    }
                    return await services[name](*args)
        except NoncestrError:
            if not (data / CONTROL).exists():
                raise
        return await ask(data, name, *args, timeout_s=timeout_s)

    if not data.is_dir():
        raise NoncestrError(f"{data} is no folder of a pool")
    return anyio.run(told, backend_options=BACKEND_OPTIONS)

"""What a login needs of the outside, in its own time and off the share path: names looked up, advice for who can't be
paid.
"""

import logging

import anyio
from anyio.abc import TaskGroup

from nips.nip19 import encode_npub
from stratum_edge.adapters.connection import Connection
from stratum_edge.errors import NameRefused
from stratum_edge.ports import Names, Payability
from stratum_edge.states import State

log = logging.getLogger(__name__)


class Reception:
    """Looks after those who log in. `tasks` is where it does; without `names` NIP-05 addresses are refused."""

    tasks: TaskGroup

    def __init__(self, names: Names | None, payability: Payability | None) -> None:
        self._names = names
        self._payability = payability

    def greet(self, connection: Connection) -> None:
        """Look names up, and tell a miner that can't be paid so; each in its own time, off the share path."""
        questions, miner = connection.session.take_news()
        for address in questions:
            self.tasks.start_soon(self._look_up, connection, address)
        if miner and self._payability is not None:
            self.tasks.start_soon(self._advise, connection, miner, self._payability)

    async def _look_up(self, connection: Connection, address: str) -> None:
        miner, refusal = "", "names at a domain can't be looked up here: log in with your npub"
        if self._names is not None:
            try:
                miner = await self._names.resolve(address)
            except NameRefused as error:
                refusal = str(error)
            except Exception:  # whatever a stranger's domain made of it: one login's, not the edge's end
                log.exception("looking %s up failed", address)
                refusal = "names can't be looked up just now: try again in a minute, or use your npub"
        log.info("%s of %s is %s", address, connection.address, miner or f"refused: {refusal}")
        connection.session.answer(address, miner, refusal, int(anyio.current_time() * 1000))
        connection.send()
        if connection.session.has_news:
            self.greet(connection)

    async def _advise(self, connection: Connection, miner: str, payability: Payability) -> None:
        try:
            advice = await payability.advice(miner)
        except Exception:  # whatever a stranger's profile made of it: nobody knows, and the edge goes on
            log.exception("whether %s can be paid is not known", encode_npub(miner))
            return
        if advice is None:
            return
        log.warning("%s mines and earns, and can't be paid yet: %s", encode_npub(miner), advice)
        if connection.session.state is State.MINING:
            connection.session.tell(advice)
            connection.send()

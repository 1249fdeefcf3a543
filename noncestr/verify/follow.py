"""What relays get from now on: one live request a relay, made again when it breaks, with what came meanwhile."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

import anyio
import msgspec

from nips.nip01 import Event, Filter, VerifiedEvent
from relay_bridge.adapters.reading import SILENCE_SECONDS, all_pages, check_page, in_span
from relay_bridge.adapters.relay_link import RelayLink, open_link
from relay_bridge.errors import RelayBridgeError, RelayGone

# After a break what is stored is read again from so long before it broke, by the events' dates.
OVERLAP_S = 3600
# Waits between tries to reach a relay.
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0

Deliver = Callable[[str, Sequence[VerifiedEvent], Sequence[tuple[Event, str]]], Awaitable[None]]


async def follow(
    url: str, wanted: Filter, since_s: int, *, deliver: Deliver, say: Callable[[str], None], now: Callable[[], float]
) -> None:
    """Follow a relay until cancelled. `deliver` gets what it sends, verified, and what is no verified event with the
    reason; live events whatever their date, since a late or backdated one is what an audit must not miss. `since_s`:
    up to when (Unix s) its stored events are known. `say` is told when it goes away and comes back.
    """
    wait_s, away = FIRST_WAIT_S, False
    while True:
        try:
            async with open_link(url) as link:
                async for page in _events(link, wanted, since_s - OVERLAP_S):
                    if away:
                        say(f"{url} is back")
                    wait_s, away, since_s = FIRST_WAIT_S, False, int(now())
                    checked = await check_page(page)
                    good = [verified for _, verified, _ in checked if verified is not None]
                    bad = [(event, reason) for event, verified, reason in checked if verified is None]
                    await deliver(url, good, bad)
        except RelayBridgeError as error:
            if not away:
                say(f"{url} is away: {error}")
            away = True
        await anyio.sleep(wait_s)
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)


async def _events(link: RelayLink, wanted: Filter, since_s: int) -> AsyncIterator[list[Event]]:
    """What is stored since then, then what comes; first of all an empty page, when the live request stands.

    The live request comes first, so that nothing falls between. One stored event is all it asks for: not every relay
    knows limit 0. Raises RelayBridgeError.
    """
    async with AsyncExitStack() as stack:
        channel = await stack.enter_async_context(link.ask("verify", [msgspec.structs.replace(wanted, limit=1)]))
        with anyio.move_on_after(SILENCE_SECONDS) as bound:
            while await channel.receive() is not None:
                pass
        if bound.cancelled_caught:
            raise RelayGone(link.url, f"silent for {SILENCE_SECONDS:g} seconds")
        yield []
        async for page in all_pages(link, "verify", [in_span(wanted, since_s, None)], silence_s=SILENCE_SECONDS):
            yield page
        while True:
            event = await channel.receive()
            if event is not None:
                yield [event, *channel.take()]

"""One question to several relays: what each of them came to, and what is wrong with the answers."""

import json

import pytest

from nips.nip01 import make_filter
from relay_bridge.adapters import fetch
from relay_bridge.adapters.fetch import fetch_events
from relay_bridge.messages import event_frame, event_json

pytestmark = pytest.mark.anyio
NOWHERE = "ws://127.0.0.1:1"


async def test_a_relay_that_sends_without_end(scripted, sign) -> None:
    """More than the page that was asked for: it is left."""
    events = [event_json(sign(at=at)) for at in range(1_600)]

    async def flood(socket) -> None:
        sub_id = json.loads(await socket.recv())[1]
        for text in events:
            await socket.send(event_frame(sub_id, text))
        await socket.wait_closed()

    async with scripted(flood) as url:
        result = await fetch_events([url], [make_filter()], timeout_s=5)
        assert "sent more than the 500 events" in result.relays[0].error
        assert not result.relays[0].complete


async def test_each_relay_is_reported_and_each_bad_event_counted_but_few_kept(scripted, sign, monkeypatch) -> None:
    monkeypatch.setattr(fetch, "MAX_UNVERIFIED", 2)
    good = [sign(at=at) for at in range(3)]
    forged = [event_json(event).replace(event.sig, "00" * 64) for event in (sign(at=at) for at in range(10, 15))]

    async def lie(socket) -> None:
        left = [*map(event_json, good), *forged]
        async for text in socket:
            command, sub_id, *_ = json.loads(text)
            if command == "REQ":
                for event in left:
                    await socket.send(event_frame(sub_id, event))
                left = []
                await socket.send(json.dumps(["EOSE", sub_id]))

    told: list[int] = []
    async with scripted(lie) as liar:
        result = await fetch_events(
            [liar, NOWHERE, liar], [make_filter(limit=20)], timeout_s=30, on_progress=told.append
        )
    assert result.events == good
    assert told[-1] == 3
    reports = {report.url: report for report in result.relays}
    assert list(reports) == [liar, NOWHERE]
    assert (reports[liar].complete, reports[liar].count, reports[liar].bad) == (True, 3, 5)
    assert [(url, event is not None) for url, event, _ in result.unverified] == [(liar, True)] * 2
    assert not reports[NOWHERE].reached
    assert reports[NOWHERE].error


async def test_a_relay_that_never_answers_is_given_up(scripted) -> None:
    async def mute(socket) -> None:
        async for _ in socket:
            pass

    async with scripted(mute) as url:
        (report,) = (await fetch_events([url], [make_filter()], timeout_s=0.2)).relays
    assert (report.reached, report.complete) == (True, False)
    assert "silent" in report.error


async def test_an_address_that_is_none_is_a_relay_that_is_away() -> None:
    wrong = ["ws://127.0.0.1:99999", "ws://", "wss://" + "a" * 70 + ".example", "ws://[::1"]
    reports = (await fetch_events(wrong, [make_filter()], timeout_s=30)).relays
    assert [(report.reached, bool(report.error)) for report in reports] == [(False, True)] * len(wrong)

"""POST /attest: what is signed and small goes on, all else is told why not."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import httpx
import pytest

from client_web.adapters import bodies
from client_web.api.answers import Refused
from client_web.api.attest import MAX_BYTES
from client_web.fakes import FakeReadModel, FakeRelayGate
from client_web.server import create_app
from client_web.site import Site
from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, VerifiedEvent, encode_event

pytestmark = pytest.mark.anyio


class Taking:
    def __init__(self) -> None:
        self.taken: list[VerifiedEvent] = []
        self.refusal: Refused | None = None

    async def take(self, event: VerifiedEvent) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.taken.append(event)


@pytest.fixture
def taking() -> Taking:
    return Taking()


@pytest.fixture
async def client(
    site: Site, model: FakeReadModel, taking: Taking, patient: Callable[[], int]
) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(site, model, FakeRelayGate(), clock_ms=patient, attestations=taking)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://pool.test/api/v1/") as client:
        yield client


async def test_a_signed_event_goes_on(client: httpx.AsyncClient, taking: Taking, miner_key: SecretKey) -> None:
    event = miner_key.sign(UnsignedEvent(4222, 5, (), "{}"))
    answer = await client.post("attest", content=encode_event(event))
    assert (answer.status_code, answer.json()) == (202, {"id": event.id})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert taking.taken == [event]
    taking.refusal = Refused(409, "one a day")
    answer = await client.post("attest", content=encode_event(event))
    assert (answer.status_code, answer.json()) == (409, {"error": "one a day"})


async def test_what_is_no_signed_event_goes_nowhere(
    client: httpx.AsyncClient, taking: Taking, miner_key: SecretKey
) -> None:
    good = encode_event(miner_key.sign(UnsignedEvent(4222, 5, (), "{}")))
    forged = good.replace(b'"created_at":5', b'"created_at":6')
    for body, status in ((b"", 400), (b"[]", 400), (forged, 400), (good + b" " * MAX_BYTES, 413)):
        answer = await client.post("attest", content=body)
        assert answer.status_code == status
        assert list(answer.json()) == ["error"]
    assert (await client.get("attest")).status_code == 405
    assert taking.taken == []


async def test_who_takes_for_ever_is_let_go(
    client: httpx.AsyncClient, taking: Taking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "READ_S", 0.05)

    async def drop() -> AsyncIterator[bytes]:
        yield b"{"
        await anyio.sleep_forever()

    with anyio.fail_after(30):
        answer = await client.post("attest", content=drop())
    assert (answer.status_code, "did not come" in answer.json()["error"]) == (408, True)
    assert taking.taken == []


async def test_who_breaks_off_is_no_failure_of_ours(
    site: Site, model: FakeReadModel, taking: Taking, patient: Callable[[], int]
) -> None:
    app = create_app(site, model, FakeRelayGate(), clock_ms=patient, attestations=taking)
    coming = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])
    sent: list[Any] = []

    async def receive() -> Any:
        return next(coming)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/api/v1/attest", "raw_path": b"/api/v1/attest", "query_string": b"",
        "headers": [], "client": ("192.0.2.1", 1), "server": ("pool.test", 80), "scheme": "http", "root_path": "",
    }  # fmt: skip
    # A failure would be raised here, for the server to log.
    await app(scope, receive, send)
    assert sent[0]["status"] == 400
    assert taking.taken == []

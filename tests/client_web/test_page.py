"""The page in a real browser against a scripted relay: what a visitor sees, live, and when the relay goes away."""

import gzip
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
import websockets
from websockets.server import WebSocketServerProtocol

from client_web.adapters.http_server import bind, serve
from client_web.adapters.relay_proxy import RelayProxy
from client_web.fakes import FakeReadModel
from client_web.server import create_app
from client_web.site import Site
from nips.keys import SecretKey
from nips.nip01 import Event, UnsignedEvent, parse_event
from nips.nip19 import encode_npub
from nips.pool import kinds
from nips.pool.address import PoolAddress
from nips.pool.chain import FIRST, Link
from nips.pool.receipt import ReceiptBody, Session, ShareRecord, build_receipt, receipt_second
from nips.pool.targets import share_bits_from_difficulty, work_from_bits

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0", "about:blank",
)  # fmt: skip
ECASH = Path(__file__).parents[1] / "vectors" / "ecash.json"
HOSTILE = '<img src=x onerror="document.title=1">'


class ScriptedRelay:
    """A relay that answers every REQ with what it holds, and passes on what is put into it later."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.open: set[WebSocketServerProtocol] = set()

    async def serve(self, websocket: WebSocketServerProtocol) -> None:
        self.open.add(websocket)
        try:
            async for text in websocket:
                _, name, *filters = json.loads(text)
                for event in self.events:
                    if any(event.kind in each["kinds"] for each in filters):
                        await websocket.send(_message(name, event))
                await websocket.send(json.dumps(["EOSE", name]))
        finally:
            self.open.discard(websocket)

    async def put(self, event: Event) -> None:
        self.events.append(event)
        for websocket in self.open:
            await websocket.send(_message("log", event))


def _message(name: str, event: Event) -> str:
    return json.dumps(["EVENT", name, msgspec.to_builtins(event)])


class Page:
    """A tab of a headless browser, driven over its DevTools socket."""

    def __init__(self, socket: websockets.WebSocketClientProtocol) -> None:
        self._socket = socket
        self._number = 0
        self._session: str | None = None
        self.complaints: list[str] = []

    async def call(self, method: str, **params: Any) -> Any:
        self._number += 1
        request = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            request["sessionId"] = self._session
        await self._socket.send(json.dumps(request))
        while True:
            answer = json.loads(await self._socket.recv())
            if answer.get("id") == self._number:
                return answer["result"]
            if answer.get("method") == "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(answer["params"]))
            if answer.get("method") == "Log.entryAdded":
                self.complaints.append(json.dumps(answer["params"]["entry"]))

    async def open(self, url: str) -> None:
        target = await self.call("Target.createTarget", url="about:blank")
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Runtime", "Log", "Page"):
            await self.call(f"{domain}.enable")
        await self.call("Page.navigate", url=url)

    async def evaluate(self, expression: str) -> Any:
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    async def choose(self, selector: str, *paths: Path) -> None:
        """Choose files as a visitor does with the browser's own chooser."""
        document = await self.call("DOM.getDocument")
        found = await self.call("DOM.querySelector", nodeId=document["root"]["nodeId"], selector=selector)
        await self.call("DOM.setFileInputFiles", nodeId=found["nodeId"], files=[str(path) for path in paths])

    async def until(self, expression: str) -> None:
        with anyio.fail_after(20):
            while not await self.evaluate(expression):  # noqa: ASYNC110 - the event is in another process
                await anyio.sleep(0.05)


@pytest.fixture
def browser(tmp_path: Path):
    """A function: a headless browser's page as a context."""
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed: the page was not tried in a browser")

    @asynccontextmanager
    async def run() -> AsyncIterator[Page]:
        async with await anyio.open_process(
            [program, f"--user-data-dir={tmp_path}", *QUIET], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            try:
                said = ""
                with anyio.fail_after(30):
                    while not (address := re.search(r"DevTools listening on (ws://\S+)\n", said)):
                        said += (await process.stderr.receive()).decode()
                async with websockets.connect(address[1], max_size=None) as socket, anyio.create_task_group() as tasks:
                    # A full pipe would stop the browser.
                    tasks.start_soon(_drain, process.stderr)
                    yield Page(socket)
                    tasks.cancel_scope.cancel()
            finally:
                # Also of a test that failed: the end of the process is waited for.
                process.terminate()

    return run


async def _drain(stream: Any) -> None:
    async for _ in stream:
        pass


def _receipt(key: SecretKey, site: Site, miner: str, link: Link, to_ms: int, worker: str) -> Event:
    bits = share_bits_from_difficulty(512)
    body = ReceiptBody(
        lane=0,
        link=link,
        from_ms=to_ms - 10_000,
        to_ms=to_ms,
        jobs=("ab" * 32,),
        miners=(miner,),
        sessions=(Session(0, worker, bytes(4), bits),),
        shares=ShareRecord(0, 0, 0, 5, 0, 0, 0, bytes(8)).pack(),
        rejects=(),
        work=work_from_bits(bits),
    )
    return key.sign(build_receipt(PoolAddress(site.pool, site.network), body, receipt_second(to_ms, 0)))


async def test_a_visitor_sees_shares_arrive_and_the_relay_leave_and_return(
    browser: Any, site: Site, pool_key: SecretKey, miner_key: SecretKey
) -> None:
    relay = ScriptedRelay()
    relay_socket = bind("127.0.0.1", 0)
    relay_port = relay_socket.getsockname()[1]
    http_socket = bind("127.0.0.1", 0)
    proxy = RelayProxy(f"ws://127.0.0.1:{relay_port}")
    async with anyio.create_task_group() as tasks, browser() as page:
        await tasks.start(serve, create_app(site, FakeReadModel(), proxy), http_socket)
        relaying = await websockets.serve(relay.serve, sock=relay_socket)
        await page.open(f"http://127.0.0.1:{http_socket.getsockname()[1]}/")
        await page.until("document.querySelector('#connection')?.dataset.state === 'connected'")
        await page.until("!document.querySelector('main').hasAttribute('aria-busy')")
        assert "Waiting for the first share" in await page.evaluate("document.body.innerText")
        npub = await page.evaluate("document.querySelector('#pool-npub').textContent")
        assert f"--pool {npub}" in await page.evaluate("document.querySelector('#verify-command').textContent")

        now = int(await page.evaluate("Date.now()"))
        first = _receipt(pool_key, site, miner_key.pubkey, FIRST, now, "rig1")
        profile = UnsignedEvent(0, now // 1000, (), json.dumps({"name": HOSTILE}))
        relay.events.append(miner_key.sign(profile))
        await relay.put(first)
        await page.until("document.querySelectorAll('#shares tr').length === 1")
        assert "rig1" in await page.evaluate("document.querySelector('#shares').textContent")
        assert "H/s" in await page.evaluate("document.querySelector('#hashrate').textContent")
        await page.until("document.querySelector('#miners bdi').textContent.startsWith('<img')")
        assert await page.evaluate("document.querySelectorAll('#miners img').length") == 0
        await page.until("document.querySelector('#miners .lacks')?.textContent.endsWith('no lightning address')")
        payable = json.dumps({"name": HOSTILE, "lud16": "a@b.example"})
        await relay.put(miner_key.sign(UnsignedEvent(0, now // 1000 + 1, (), payable)))
        await page.until("document.querySelector('#miners .lacks').hidden")
        assert page.complaints == []

        relaying.close()
        await relaying.wait_closed()
        await page.until("document.querySelector('#connection').dataset.state === 'reconnecting'")
        relay.events.append(_receipt(pool_key, site, miner_key.pubkey, Link(1, first.id), now + 10_000, "rig2"))
        again = await websockets.serve(relay.serve, "127.0.0.1", relay_port)
        await page.until("document.querySelector('#connection').dataset.state === 'connected'")
        await page.until("document.querySelectorAll('#shares tr').length === 2")
        again.close()
        await again.wait_closed()
        tasks.cancel_scope.cancel()


async def test_a_visitor_checks_the_whole_log(browser: Any, site: Site, tmp_path: Path) -> None:
    """The log that SPEC.md tells, judged in the browser: whole, with a job kept back, with that out of a file."""
    text = (Path(__file__).parents[2] / "nips" / "pool" / "SPEC.md").read_text()
    told = [json.loads(each) for each in re.findall(r"<!-- example: \w+ -->\n```json\n(.*?)\n```", text, re.DOTALL)]
    events = [parse_event(each) for each in told if each.get("kind") in kinds.LEDGER_KINDS]
    pool = next(event.pubkey for event in events if event.kind == kinds.TERMS)
    payout = next(event for event in events if event.kind == kinds.PAYOUT)
    miner = encode_npub(next(tag[1] for tag in payout.tags if tag[0] == "p"))
    relay = ScriptedRelay()
    relay.events = list(events)
    relay_socket, http_socket = bind("127.0.0.1", 0), bind("127.0.0.1", 0)
    proxy = RelayProxy(f"ws://127.0.0.1:{relay_socket.getsockname()[1]}")
    app = create_app(msgspec.structs.replace(site, pool=pool), FakeReadModel(), proxy)
    # The relay ends before what reads it, also when something here fails: else that would wait for it for ever.
    relaying = websockets.serve(relay.serve, sock=relay_socket)
    async with anyio.create_task_group() as tasks, browser() as page, relaying:
        await tasks.start(serve, app, http_socket)
        await page.open(f"http://127.0.0.1:{http_socket.getsockname()[1]}/")
        await page.until("document.querySelector('#connection')?.dataset.state === 'connected'")
        await page.evaluate("document.querySelector('#check-run').click()")
        await page.until("!document.querySelector('#check-result').hidden")
        assert (
            await page.evaluate("document.querySelector('#check-verdict').textContent") == "All that was checked holds."
        )
        assert await page.evaluate("document.querySelectorAll('#check-claims tr').length") == 9
        assert not await page.evaluate("document.querySelector('#check-ask').hidden")

        await page.evaluate(f"document.querySelector('#npub').value = '{miner}'")
        await page.evaluate("document.querySelector('#npub').dispatchEvent(new Event('input'))")
        await page.until("document.querySelectorAll('#check-rows tr').length === 1")
        assert "to the msat" in await page.evaluate("document.querySelector('#check-rows').textContent")
        says = await page.evaluate("document.querySelector('#check-miner-says').textContent")
        assert says.startswith("3 of 3 credited shares are good.")

        relay.events = [event for event in events if event.kind != kinds.JOB]
        await page.evaluate("document.querySelector('#check-run').click()")
        await page.until("document.querySelector('#check-verdict').textContent.endsWith('part of the log is missing.')")
        found = await page.evaluate("document.querySelector('#check-findings').textContent")
        assert "A receipt names a job that is on no relay asked." in found

        # What the relay keeps back may be in a file: an archive, packed as pools publish it.
        jobs = [event for event in events if event.kind == kinds.JOB]
        lines = [b'{"archive":1}', *(msgspec.json.encode(event) for event in jobs), b'{"chains":{},"sha256":""}']
        (tmp_path / "log.jsonl.gz").write_bytes(gzip.compress(b"\n".join(lines) + b"\n"))
        (tmp_path / "keys.json").write_text(json.loads(ECASH.read_text())["key_files"][0]["text"])
        await page.choose("#check-logs", tmp_path / "log.jsonl.gz")
        await page.choose("#check-mints", tmp_path / "keys.json")
        assert "Check again" in await page.evaluate("document.querySelector('#check-says').textContent")
        await page.evaluate("document.querySelector('#check-run').click()")
        await page.until("document.querySelector('#check-verdict').textContent === 'All that was checked holds.'")
        forged = msgspec.to_builtins(jobs[0]) | {"content": jobs[0].content + " "}
        (tmp_path / "forged.jsonl").write_text(json.dumps(forged))
        await page.choose("#check-logs", tmp_path / "log.jsonl.gz", tmp_path / "forged.jsonl")
        await page.evaluate("document.querySelector('#check-run').click()")
        await page.until("document.querySelector('#check-verdict').textContent === 'This log does not hold.'")

        # Files that are none are named, and nothing is shown as checked.
        says = "document.querySelector('#check-says').textContent"
        for name, content, chooser in (
            ("text.jsonl", b"no JSON\n", "#check-logs"),
            ("empty.jsonl", b"", "#check-logs"),
            ("broken.gz", gzip.compress(b"{}")[:-9], "#check-logs"),
            ("keys.json", b'{"mints":1}', "#check-mints"),
        ):
            (tmp_path / name).write_bytes(content)
            await page.choose(chooser, tmp_path / name)
            await page.evaluate("document.querySelector('#check-run').click()")
            named = name if chooser == "#check-logs" else "The file of mints"
            await page.until(f"{says}.includes('{named}')")
            assert await page.evaluate("document.querySelector('#check-says').dataset.tone") == "bad"
            assert await page.evaluate("document.querySelector('#check-result').hidden")
            await page.choose("#check-logs", tmp_path / "log.jsonl.gz")
        assert page.complaints == []
        tasks.cancel_scope.cancel()


async def test_a_visitor_sees_one_miner_and_the_api_page(browser: Any, site: Site, miner_key: SecretKey) -> None:
    """Whatever a miner may write itself, its names and addresses, is text."""
    told = {
        "pubkey": miner_key.pubkey, "npub": encode_npub(miner_key.pubkey), "ms": 1, "shares": 3, "rejects": 1,
        "hashrate_hs": {"5m": "5000", "1h": "6000", "24h": "7"}, "rejects_by_code": {"21": 1},
        "rejects_by_reason": {"stale": 1}, "work": "9",
        "best_share_difficulty": "1024.5", "last_share_ms": 1, "pending_msat": 4000, "earned_msat": 9000,
        "paid_msat": 2000, "owed_msat": 7000, "bonus_earned_msat": 2500, "bonus_pending_msat": 1500,
        "unpaid_because": f"no {HOSTILE}", "cannot_be_paid": f"add {HOSTILE}",
        "workers": [{"name": f"#{HOSTILE}", "alias": HOSTILE, "hashrate_hs": {"5m": "5"}, "last_share_ms": 1}],
        "estimates": [{
            "offer": HOSTILE, "scheme": "pplns", "height": 101, "gross_msat": 10**11, "fee_ppm": 10_000, "work": "1",
            "window_work": "2", "window_full": False, "msat": 5500, "daily_msat": 6000,
        }],
        "rewards": [{
            "statement": "ab" * 32, "type": "period", "height": None, "found_ms": 1, "window_work": "4",
            "miner_work": "1", "miner_msat": 4000, "miner_bonus_msat": 1500, "status": "pending",
        }],
        "loyalty": [{
            "offer": HOSTILE, "ms": 1, "part_ppm": 250_000, "fee_ppm": 10_000, "hours": 12, "full_hours": 720,
            "days": 1, "full_days": 30, "factor_ppm": 1_050_000, "bonus_msat": None, "because": "the terms say so",
            "workers": [{
                "name": HOSTILE, "alias": "", "model": HOSTILE, "attested_ms": 86_400_000, "asked_hs": "2000",
                "measured_hs": "1000", "hardware_milli": 1000, "factor_ppm": 1_050_000, "because": "a quarter off",
            }],
        }],
        "payouts": [{
            "event": "cd" * 32, "created_at": 1, "amount_msat": 2000, "network_fee_msat": 0, "method": HOSTILE,
            "proof": "attested",
        }],
        "settings": {
            "event": "ef" * 32, "created_ms": 1, "methods": ["zap", HOSTILE], "lightning": HOSTILE, "onchain": HOSTILE,
            "mint": "", "destination_since_ms": 86_400_000, "minimum_msat": 0, "donation_ppm": 20_000,
            "hide_workers": True, "notify": [],
        },
    }  # fmt: skip
    relay = ScriptedRelay()
    relay_socket, http_socket = bind("127.0.0.1", 0), bind("127.0.0.1", 0)
    proxy = RelayProxy(f"ws://127.0.0.1:{relay_socket.getsockname()[1]}")
    app = create_app(site, FakeReadModel(miners={miner_key.pubkey: told}), proxy)
    address = f"http://127.0.0.1:{http_socket.getsockname()[1]}"
    # The relay ends before what reads it, also when something here fails: else that would wait for it for ever.
    relaying = websockets.serve(relay.serve, sock=relay_socket)
    async with anyio.create_task_group() as tasks, browser() as page, relaying:
        await tasks.start(serve, app, http_socket)
        await page.open(f"{address}/#{encode_npub(miner_key.pubkey)}")
        await page.until("document.querySelector('#miner-told')?.hidden === false")
        text = await page.evaluate("document.querySelector('#miner').innerText")
        shown = ("2 % of each reward", "names hidden", "the best had difficulty 1.02 k", "1 refused (1 stale)")
        shown += (
            "1.5 of it bonus",
            "2.5 sat of all it earned came out of the pool's fee, and 1.5 sat of what still matures.",
            "12 of 720 hours",
            "1 of 30 days",
            "× 1.05",
        )
        shown += ("1 kH/s measured, 2 kH/s asked for, 1970-01-02", "a quarter off", "the terms say so")
        assert [each for each in shown if each not in text] == []
        # Names are cut to 32 characters.
        assert (text.count(HOSTILE), text.count(HOSTILE[:32])) == (8, 11)
        assert await page.evaluate("document.querySelectorAll('#miner img, #miner script').length") == 0
        assert await page.evaluate("document.querySelector('#miner-owed').textContent") == "7"
        links = await page.evaluate("[...document.querySelectorAll('#miner-links a')].map((a) => a.href).join()")
        assert f"{address}/api/v1/miners/{told['npub']}/taxes.csv?year=" in links

        await page.evaluate(f"location.hash = '{encode_npub(site.pool)}'")
        await page.until("document.querySelector('#miner-says').textContent.startsWith('This pool has credited no')")
        assert await page.evaluate("document.querySelector('#miner-told').hidden")
        await page.evaluate("document.querySelector('#miner .close').click()")
        await page.until("document.querySelector('#miner').hidden")

        await page.call("Page.navigate", url=f"{address}/api/")
        await page.until("document.querySelectorAll('.operation').length > 20")
        assert await page.evaluate("document.querySelector('#failure').hidden")
        assert "POST /api/v1/attest" in await page.evaluate("document.querySelector('#operations').innerText")
        # The browser's own line about the 404 that was asked for.
        assert [each for each in page.complaints if "404" not in each] == []
        tasks.cancel_scope.cancel()

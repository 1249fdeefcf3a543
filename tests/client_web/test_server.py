"""The application's routes, in memory: answers, errors, headers, caching."""

from collections.abc import AsyncIterator

import httpx
import pytest

from client_web.fakes import FakeReadModel, FakeRelayGate
from client_web.server import STATIC, create_app
from client_web.site import Site
from nips.keys import SecretKey
from nips.nip19 import encode_npub, encode_nsec

pytestmark = pytest.mark.anyio


@pytest.fixture
def read_model(miner_key: SecretKey) -> FakeReadModel:
    return FakeReadModel({"hashrate": 42, "owed_msat": 1}, {miner_key.pubkey: {"paid_msat": 7}})


@pytest.fixture
async def client(site: Site, read_model: FakeReadModel) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=create_app(site, read_model, FakeRelayGate()), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://pool.test") as client:
        yield client


async def test_the_page_is_served_with_its_policy(client: httpx.AsyncClient) -> None:
    answer = await client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert "connect-src 'self' ws://pool.test wss://pool.test" in policy
    assert "script-src 'self'" in policy
    assert "worker-src 'self'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-cache"
    again = await client.get("/", headers={"if-none-match": answer.headers["etag"]})
    assert again.status_code == 304


async def test_every_file_of_the_page_is_served_and_names_no_other_host(client: httpx.AsyncClient) -> None:
    names = sorted(path.name for path in STATIC.iterdir() if path.is_file())
    assert {"index.html", "app.js", "style.css"} <= set(names)
    for name in names:
        answer = await client.get(f"/{name}")
        assert answer.status_code == 200, name
        for link in ("http://", "https://", "//cdn"):
            assert link not in answer.text.replace("http://www.w3.org/2000/svg", ""), name
        assert "innerHTML" not in answer.text


@pytest.mark.parametrize("path", ["/../server.py", "/%2e%2e/server.py", "/..%2fserver.py", "/static/../../site.py"])
async def test_nothing_outside_the_page_is_served(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404


async def test_pool_has_an_etag_and_is_open_to_other_origins(
    client: httpx.AsyncClient, read_model: FakeReadModel
) -> None:
    first = await client.get("/api/v1/pool")
    assert first.status_code == 200
    assert first.json() == {"hashrate": 42, "owed_msat": 1}
    assert first.headers["access-control-allow-origin"] == "*"
    assert first.headers["cache-control"] == "no-cache"
    same = await client.get("/api/v1/pool", headers={"if-none-match": f'"x", {first.headers["etag"]}'})
    assert (same.status_code, same.content) == (304, b"")
    (await read_model.pool())["owed_msat"] = 2
    changed = await client.get("/api/v1/pool", headers={"if-none-match": first.headers["etag"]})
    assert changed.status_code == 200
    assert changed.headers["etag"] != first.headers["etag"]


async def test_a_miner_is_found_by_npub_and_by_hex(client: httpx.AsyncClient, miner_key: SecretKey) -> None:
    for name in (encode_npub(miner_key.pubkey), miner_key.pubkey, f"nostr:{encode_npub(miner_key.pubkey)}"):
        answer = await client.get(f"/api/v1/miners/{name}")
        assert (answer.status_code, answer.json()) == (200, {"paid_msat": 7})


async def test_an_unknown_miner_is_404(client: httpx.AsyncClient, pool_key: SecretKey) -> None:
    answer = await client.get(f"/api/v1/miners/{encode_npub(pool_key.pubkey)}")
    assert answer.status_code == 404
    assert "no share" in answer.json()["error"]
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("name", ["bob", "npub1qqqq", "f" * 64, "%00", "npub1" + "q" * 5000, "é"])
async def test_a_bad_miner_name_is_400_and_says_why(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.get(f"/api/v1/miners/{name}")
    assert answer.status_code == 400
    assert answer.json()["error"]


async def test_a_secret_key_is_refused_and_never_repeated(client: httpx.AsyncClient, miner_key: SecretKey) -> None:
    nsec = encode_nsec(miner_key.secret_bytes())
    answer = await client.get(f"/api/v1/miners/{nsec}")
    assert answer.status_code == 400
    assert nsec not in answer.text
    assert "secret" in answer.json()["error"]


async def test_health_is_200_or_503(client: httpx.AsyncClient, read_model: FakeReadModel) -> None:
    assert (await client.get("/healthz")).status_code == 200
    read_model.healthy = False
    answer = await client.get("/healthz", headers={"if-none-match": "*"})
    assert answer.status_code == 503
    assert answer.json() == {"ok": False, "parts": {"relay": "down"}}


async def test_nip05(client: httpx.AsyncClient, miner_key: SecretKey) -> None:
    answer = await client.get("/.well-known/nostr.json", params={"name": "alice"})
    assert answer.json() == {"names": {"alice": miner_key.pubkey}}
    assert answer.headers["access-control-allow-origin"] == "*"
    assert set((await client.get("/.well-known/nostr.json")).json()["names"]) == {"_", "alice"}


async def test_config(client: httpx.AsyncClient, site: Site) -> None:
    assert (await client.get("/config.json")).json() == site.config()


async def test_the_relay_path_tells_a_browser_what_it_is(client: httpx.AsyncClient) -> None:
    answer = await client.get("/relay", headers={"accept": "text/html"})
    assert answer.status_code == 426
    assert "WebSocket" in answer.json()["error"]
    information = await client.get("/relay", headers={"accept": "application/nostr+json"})
    assert information.json() == {"name": "fake relay"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/nothing", 404),
        ("POST", "/api/v1/pool", 405),
        ("DELETE", "/", 405),
        ("GET", "/docs", 404),
    ],
)
async def test_what_is_not_there_is_refused_in_json(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    answer = await client.request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"]
    assert "content-security-policy" in answer.headers


@pytest.mark.parametrize("path", ["/", "/api/v1/pool", "/healthz", "/config.json"])
async def test_head_is_get_without_the_body(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.head(path)
    assert answer.status_code == 200
    assert answer.headers["etag"] == (await client.get(path)).headers["etag"]


async def test_a_failing_read_model_is_500_without_its_reason(site: Site) -> None:
    class Broken(FakeReadModel):
        async def pool(self) -> dict[str, object]:
            raise RuntimeError("the database password is hunter2")

    transport = httpx.ASGITransport(app=create_app(site, Broken(), FakeRelayGate()), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://pool.test") as client:
        answer = await client.get("/api/v1/pool")
    assert answer.status_code == 500
    assert "hunter2" not in answer.text
    assert answer.json()["error"]

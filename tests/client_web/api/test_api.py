"""The read API over fixed answers: pages, cursors, names, errors, ETags, other origins."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from client_web.api import book_models, miner_models, pool_models
from client_web.fakes import FakeReadModel
from client_web.server import STATIC
from nips.keys import SecretKey
from nips.nip19 import encode_npub, encode_nsec

pytestmark = pytest.mark.anyio

# Path below /api/v1 with {npub} for the miner, and the model of its answer.
ANSWERS = {
    "pool": pool_models.Pool,
    "pool/hashrate": pool_models.Series,
    "terms": pool_models.Terms,
    "treasury": pool_models.Treasury,
    "config": pool_models.Config,
    "miners": miner_models.Miners,
    "miners/{npub}": miner_models.MinerDetail,
    "miners/{npub}/workers": miner_models.Workers,
    "miners/{npub}/hashrate": pool_models.Series,
    "miners/{npub}/rewards": book_models.MinerRewards,
    "miners/{npub}/payouts": book_models.Payouts,
    "blocks": book_models.Blocks,
    "rewards": book_models.Rewards,
    "payouts": book_models.Payouts,
    "statements": book_models.Statements,
    "statements/2": book_models.StatementDetail,
}


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://pool.test/api/v1/") as client:
        yield client


@pytest.mark.parametrize("path", ANSWERS)
async def test_every_answer_has_its_models_fields_an_etag_and_is_open(
    client: httpx.AsyncClient, miner_key: SecretKey, path: str
) -> None:
    npub = encode_npub(miner_key.pubkey)
    for name in (npub, miner_key.pubkey, npub.upper(), miner_key.pubkey.upper(), f"nostr:{npub}"):
        url = path.format(npub=name)
        answer = await client.get(url)
        assert answer.status_code == 200, answer.text
        ANSWERS[path].model_validate_json(answer.content)
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "ETag" in answer.headers["access-control-expose-headers"]
        again = await client.get(url, headers={"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert (await client.head(url)).status_code == 200


async def test_flat_lists_are_lists(client: httpx.AsyncClient, miner_key: SecretKey) -> None:
    npub = encode_npub(miner_key.pubkey)
    balance = (await client.get("balance")).json()
    assert balance == [{"pubkey": miner_key.pubkey, "npub": npub, "owed_msat": 1, "pending_msat": 2}]
    assert [row["earned_msat"] for row in (await client.get("total")).json()] == [1]


async def test_a_year_of_a_miner_is_a_table(
    client: httpx.AsyncClient, miner_key: SecretKey, model: FakeReadModel
) -> None:
    npub = encode_npub(miner_key.pubkey)
    row = {"time": "2026-01-01T00:00:00Z", "type": "earned", "msat": 5}
    model.lists = {**model.lists, f"taxes {miner_key.pubkey} 2026": [row]}
    found = await client.get(f"miners/{npub}/taxes.csv", params={"year": 2026})
    assert found.text.splitlines() == ["time,type,msat", "2026-01-01T00:00:00Z,earned,5"]
    assert found.headers["content-type"] == "text/csv; charset=utf-8"
    assert found.headers["content-disposition"] == f'attachment; filename="{npub}-2026.csv"'
    assert found.headers["access-control-allow-origin"] == "*"
    head = await client.head(f"miners/{npub}/taxes.csv", params={"year": 2026})
    assert (head.status_code, head.text) == (200, "")
    assert "content-length" not in head.headers, "the table is not made to tell its length"


async def test_pages_go_on_where_the_one_before_ended(client: httpx.AsyncClient) -> None:
    first = (await client.get("blocks", params={"limit": 2})).json()
    assert [block["height"] for block in first["items"]] == [103, 102]
    second = (await client.get("blocks", params={"limit": 2, "cursor": first["next"]})).json()
    assert [block["height"] for block in second["items"]] == [101]
    assert second["next"] is None


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("blocks?limit=0", "limit"),
        ("miners/{npub}/taxes.csv", "year"),
        ("miners/{npub}/taxes.csv?year=1999", "year"),
        ("blocks?limit=101", "limit"),
        ("payouts?limit=x", "limit"),
        ("statements?cursor=1-2", "cursor"),
        ("rewards?cursor=", "cursor"),
        ("pool/hashrate?span=9y", "span"),
        ("miners/nobody", "npub or 64 hex digits"),
        ("miners/" + "ab" * 31, "64 digits, this has 62"),
        ("miners/" + "ff" * 32, "no point of the curve"),
        ("miners/Npub1l2vyh47mk2p0qlsku7hg0vn29faehy9hy34ygaclpn66ukqp3afqutajft", "upper and lower case"),
        ("miners/nobody/payouts", ""),
        ("statements/-1", "number"),
        ("statements/00", "number"),
    ],
)
async def test_what_cannot_be_read_is_400_and_says_why(client: httpx.AsyncClient, path: str, reason: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"]
    assert reason in answer.json()["error"]
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("part", ["", "/workers", "/hashrate", "/rewards", "/payouts", "/taxes.csv?year=2026"])
async def test_an_unknown_miner_is_404_and_a_secret_key_never_repeated(
    client: httpx.AsyncClient, pool_key: SecretKey, part: str
) -> None:
    assert (await client.get(f"miners/{encode_npub(pool_key.pubkey)}{part}")).status_code == 404
    nsec = encode_nsec(pool_key.secret_bytes())
    answer = await client.get(f"miners/{nsec}{part}")
    assert answer.status_code == 400
    assert nsec not in answer.text


@pytest.mark.parametrize("path", ["statements/77", "statements/" + "0" * 64, "nothing", "miners/"])
async def test_what_is_not_there_is_404_in_the_apis_form(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 404
    assert list(answer.json()) == ["error"]


async def test_no_terms_yet_is_404(client: httpx.AsyncClient, model: FakeReadModel) -> None:
    model.terms_in_force = None
    assert (await client.get("terms")).status_code == 404


async def test_nothing_can_be_written(client: httpx.AsyncClient) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        answer = await client.request(method, "pool")
        assert answer.status_code == 405
        assert answer.headers["allow"] == "GET, HEAD"
        assert list(answer.json()) == ["error"]


async def test_a_browser_of_another_origin_may_ask_with_its_etag(client: httpx.AsyncClient) -> None:
    headers = {"origin": "https://stats.example", "access-control-request-method": "GET"}
    answer = await client.options("pool", headers={**headers, "access-control-request-headers": "if-none-match"})
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "If-None-Match" in answer.headers["access-control-allow-headers"]
    assert answer.headers["access-control-allow-methods"] == "GET, HEAD, POST"


async def test_the_moment_of_an_answer_is_no_change_of_it(client: httpx.AsyncClient, model: FakeReadModel) -> None:
    first = await client.get("pool")
    (await model.pool())["ms"] += 5000
    assert (await client.get("pool", headers={"if-none-match": first.headers["etag"]})).status_code == 304
    (await model.pool())["shares"] += 1
    assert (await client.get("pool", headers={"if-none-match": first.headers["etag"]})).status_code == 200


@pytest.mark.parametrize("path", ["pool", "treasury", "miners/{npub}"])
async def test_ages_are_no_change_either(
    client: httpx.AsyncClient, model: FakeReadModel, miner_key: SecretKey, path: str
) -> None:
    npub = encode_npub(miner_key.pubkey)
    first = await client.get(path.format(npub=npub))
    assert model.stock is not None
    miner = await model.miner(miner_key.pubkey)
    assert miner is not None
    for value in (await model.pool(), model.stock, miner):
        value["ms"] += 1
    (await model.pool()).setdefault("lanes", [{}])[0].update(age_ms=7, quiet_ms=8)
    model.stock["holdings"][0]["age_ms"] += 1
    miner["loyalty"][0]["ms"] += 1
    known = {"if-none-match": first.headers["etag"]}
    again = await client.get(path.format(npub=npub), headers=known)
    if path != "pool":
        assert again.status_code == 304
        return
    # Lanes were told of that had not been there; their ages alone are no news.
    assert again.status_code == 200
    (await model.pool())["lanes"][0].update(age_ms=9, quiet_ms=9)
    assert (await client.get(path, headers={"if-none-match": again.headers["etag"]})).status_code == 304


async def test_a_statement_is_found_by_its_id_in_any_case(client: httpx.AsyncClient) -> None:
    found = (await client.get("statements/2")).json()
    for name in (found["event"], found["event"].upper()):
        assert (await client.get(f"statements/{name}")).json() == found


async def test_the_document_is_open_and_has_an_etag(client: httpx.AsyncClient) -> None:
    document = await client.get("openapi.json")
    assert document.headers["access-control-allow-origin"] == "*"
    known = {"if-none-match": document.headers["etag"]}
    assert (await client.get("openapi.json", headers=known)).status_code == 304
    assert (await client.head("openapi.json")).status_code == 200
    assert document.json()["servers"] == [{"url": "/api/v1"}]


async def test_a_head_of_the_live_answer_has_no_end_to_wait_for(client: httpx.AsyncClient) -> None:
    head = await client.head("live")
    assert (head.status_code, head.headers["content-type"]) == (200, "text/event-stream")
    assert "content-length" not in head.headers


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/config.json", "/", "/api/v1/live", "/nothing"])
async def test_what_is_only_read_says_so(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.post(f"http://pool.test{path}")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    assert "Allow" in answer.json()["error"]


async def test_an_etag_is_known_among_others_and_without_its_mark(client: httpx.AsyncClient) -> None:
    etag = (await client.get("terms")).headers["etag"]
    assert etag.startswith('W/"')
    for known in (etag, etag.removeprefix("W/"), f'"other", {etag}', f'W/"other",{etag.removeprefix("W/")}', "*"):
        answer = await client.get("terms", headers={"if-none-match": known})
        assert (answer.status_code, answer.headers["etag"]) == (304, etag), known
    for other in ('"other"', etag.replace('"', ""), etag[:-2] + '"', ""):
        assert (await client.get("terms", headers={"if-none-match": other})).status_code == 200, other


async def test_a_failure_of_ours_tells_nothing_of_the_inside(
    client: httpx.AsyncClient, model: FakeReadModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> None:
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(model, "blocks", fails)
    answer = await client.get("blocks")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert list(answer.json()) == ["error"]


async def test_the_config_says_nothing_secret(client: httpx.AsyncClient) -> None:
    assert set((await client.get("config")).json()) == {"v", "pool", "network", "relays", "stratum_url", "keys"}


async def test_metrics_are_openmetrics(client: httpx.AsyncClient) -> None:
    answer = await client.get("http://pool.test/metrics")
    assert answer.text == "# EOF\n"
    assert answer.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"


async def test_the_browsable_page_loads_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    for name in ("", "api.js", "api.css"):
        answer = await client.get(f"http://pool.test/api/{name}")
        assert answer.status_code == 200
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        for link in ("http://", "https://", "//cdn", "innerHTML", "style="):
            assert link not in answer.text, (name, link)
    assert sorted(path.name for path in (STATIC / "api").iterdir()) == ["api.css", "api.js", "index.html"]

"""`terms show` on a file of signed terms; `terms risk` against the formulas."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from nips.keys import SecretKey
from nips.nip01 import encode_event
from nips.pool.address import PoolAddress
from nips.pool.chain import FIRST, Head
from nips.pool.terms import Offer, TermsBody, build_terms
from noncestr.commands.terms import FILE, terms_app
from noncestr.errors import NoncestrError

KEY = SecretKey(b"\x05" * 32)
POOL = PoolAddress(KEY.pubkey, "regtest")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    first = KEY.sign(build_terms(POOL, FIRST, 5, TermsBody({"main": Offer()}, ((KEY.pubkey, "edge"),))))
    body = TermsBody({"main": Offer(), "steady": Offer("pps", 40_000, period_s=3600)}, ((KEY.pubkey, "edge"),))
    second = KEY.sign(build_terms(POOL, Head(0, first.id).next(), 6, body))
    (tmp_path / FILE).write_bytes(encode_event(first) + b"\n" + encode_event(second) + b"\n" + b'{"cut')
    return tmp_path


def run(*arguments: str) -> str:
    result = CliRunner().invoke(terms_app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_the_terms_in_force_are_shown(data: Path) -> None:
    lines = run("show", "--data", str(data)).splitlines()
    assert lines[0].startswith("terms 1 of regtest, ")
    assert [line for line in lines if not line.startswith("    ")][1:] == [
        "  main: pplns, fee 1 %",
        "  steady: pps, fee 4 %",
        "  paid every hour, from 1 sat on",
    ]


def test_all_terms_are_shown_as_json(data: Path) -> None:
    rows: list[dict[str, Any]] = json.loads(run("show", "--data", str(data), "--all", "--json"))
    assert [(row["seq"], sorted(row["offers"])) for row in rows] == [(0, ["main"]), (1, ["main", "steady"])]
    assert rows[1]["offers"]["steady"]["period_s"] == 3600


def test_no_terms(tmp_path: Path) -> None:
    with pytest.raises(NoncestrError, match="no terms were issued yet"):
        run("show", "--data", str(tmp_path))
    (tmp_path / FILE).write_bytes(b"")
    with pytest.raises(NoncestrError, match="no terms were issued yet"):
        run("show", "--data", str(tmp_path))


def test_a_damaged_file(data: Path) -> None:
    (data / FILE).write_bytes(
        (data / FILE).read_bytes().replace(b'\\"seq\\"', b'\\"sex\\"').replace(b"pplns", b"pplnx")
    )
    with pytest.raises(NoncestrError, match=FILE):
        run("show", "--data", str(data))


def test_risk_is_told_by_fee_and_hashrate() -> None:
    options = ("--fees", "0,2", "--hashrates", "0.01,0.1", "--tx-fees", "0", "--orphans", "0", "--days", "100")
    lines = run("risk", *options).splitlines()
    assert lines[0] == "fpps: the float that runs out with a probability of 1 % at most"
    assert lines[1] == "A block brings 3.125 BTC, 0 % of blocks are lost."
    ever = next(line for line in lines if line.startswith("ever"))
    assert ever.split("  ")[-1].strip() == "354.969 (113.59)"
    assert "none is enough" in ever
    assert "359.782 (115.13)" in next(line for line in lines if "Rosenfeld" in line)
    assert any("in 100 days with 0.1 % (14.4 blocks)" in line for line in lines)


def test_risk_as_json_is_exact() -> None:
    options = ("--scheme", "pps", "--fees", "4", "--hashrates", "0.01", "--tx-fees", "0.125", "--orphans", "0.5")
    row = json.loads(run("risk", *options, "--json"))[0]
    assert row["fee_ppm"] == 40_000
    assert row["margin"].startswith(str(1 - 3.125 * 0.96 / (3.25 * 0.995))[:12])
    assert row["until"][0]["blocks"] == "5.256"
    ever = row["for_good"]
    assert float(ever["rewards"]) < float(row["rosenfeld"]["rewards"])
    assert ever["msat"] == round(float(ever["rewards"]) * 325_000_000_000)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--scheme", "prop"), "needs no float"),
        (("--fees", "1,x"), "is no number"),
        (("--fees", "-1"), "0 or more"),
        (("--fees", "1.00001"), "too many decimals"),
        (("--fees", "100"), "below 100 %"),
        (("--orphans", "100"), "below 100 %"),
        (("--subsidy", "0"), "worth something"),
        (("--probability", "0"), "between 0 and 100"),
        (("--probability", "100"), "between 0 and 100"),
        (("--hashrates", "50"), "fewer days"),
        (("--days", "NaN"), "0 or more"),
    ],
)
def test_questions_without_an_answer(options: tuple[str, ...], why: str) -> None:
    with pytest.raises(NoncestrError, match=why):
        run("risk", *options)

"""The vectors of payouts in ecash, of files of mints' keys and of mints' URLs, which the second verifier reads, too."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from accounting.mint_keys import InvalidMintKeys, mint_keys, read_mint_keys
from accounting.payout_proof import check_proof
from nips.nut00 import InvalidMintUrl, normal_mint_url
from nips.pool.payout import parse_payout

VECTORS: Any = json.loads((Path(__file__).parents[1] / "vectors" / "ecash.json").read_text())


def test_every_payout_is_worth_what_is_told(story: Any) -> None:
    base = parse_payout(story.events["payout 0"])
    for case in VECTORS["payouts"]:
        fields = {name: case[name] for name in ("method", "miner", "to", "amount_msat", "created_at", "proof")}
        known = mint_keys(shown for text in case["files"] for shown in read_mint_keys(text))
        judged = check_proof(dataclasses.replace(base, **fields), frozenset(), frozenset(), {}, known)
        assert judged.grade == case["grade"], (case["reason"], judged.text)
    assert len(VECTORS["payouts"]) >= 100


def test_files_of_keys_are_read_or_refused() -> None:
    for case in VECTORS["key_files"]:
        assert len(read_mint_keys(case["text"])) == len(json.loads(case["text"])["mints"])
    for case in VECTORS["invalid_key_files"]:
        with pytest.raises(InvalidMintKeys):
            pytest.fail(f"{case['reason']}: {read_mint_keys(case['text'])}")


def test_urls_have_one_form() -> None:
    for case in VECTORS["urls"]:
        assert normal_mint_url(case["text"]) == case["normal"]
    for text in VECTORS["invalid_urls"]:
        with pytest.raises(InvalidMintUrl):
            pytest.fail(f"{text}: {normal_mint_url(text)}")

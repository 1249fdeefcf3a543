"""The second verifier's readers on the vectors of nips: every case as it is told, every invalid one refused."""

import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "tests" / "vectors"
# What the check reads of the vectors; a file that is not named here is about something else.
READ = (
    "archive", "attestation_part", "binding", "block", "coinbase", "ecash", "job", "loyalty", "merkle", "nip01",
    "nip19", "payout", "receipt", "share_record", "split", "statement", "summary", "summary_part", "targets", "terms",
)  # fmt: skip
NOT_READ = {("archive", "lines")}
MODULES = {"ts": ROOT / "client_web" / "verify", "js": ROOT / "client_web" / "static" / "verify"}


def expected() -> dict[str, dict[str, int]]:
    counts = {}
    for name in READ:
        lists = json.loads((VECTORS / f"{name}.json").read_text()).items()
        counts[name] = {
            each: len(items) for each, items in lists if isinstance(items, list) and (name, each) not in NOT_READ
        }
    return counts


@pytest.mark.parametrize("extension", MODULES)
def test_every_vector(node: str, extension: str) -> None:
    script = Path(__file__).with_name("verify_vectors.mjs")
    done = subprocess.run(
        [node, str(script), str(MODULES[extension]), extension, str(VECTORS)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    counts = {name: lists for name, lists in json.loads(done.stdout).items() if name in READ}
    assert counts == expected(), done.stderr


def test_the_vectors_are_many() -> None:
    """The counts above are of the files; that these are not empty is told here."""
    counts = expected()
    floor = {
        "attestation_part": 33, "binding": 14, "block": 24, "coinbase": 32, "ecash": 160, "job": 33, "loyalty": 40,
        "merkle": 9, "nip01": 36, "nip19": 20, "payout": 26, "receipt": 43, "share_record": 9, "split": 14,
        "statement": 28, "targets": 47, "terms": 31,
    }  # fmt: skip
    assert {name: sum(counts[name].values()) >= least for name, least in floor.items()} == dict.fromkeys(floor, True)

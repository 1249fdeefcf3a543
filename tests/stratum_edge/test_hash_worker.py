"""The hashing process by its orders and reports alone."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_throttled_worker_takes_small_turns_and_ends_with_its_input() -> None:
    worker = subprocess.Popen(
        [sys.executable, "-m", "stratum_edge.adapters.hash_worker", "500"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdin is not None
    assert worker.stdout is not None
    with worker.stdin as orders, worker.stdout as reports:
        # Two orders at once: the newer counts.
        for order_id in (1, 2):
            orders.write(json.dumps({"id": order_id, "header": "00" * 76, "target": f"{1 << 255:064x}"}) + "\n")
        orders.flush()
        first, second = (json.loads(reports.readline()) for _ in range(2))
        assert (first["id"], first["hashes"], first["done"]) == (2, 50, False)
        assert all(nonce < 50 for nonce in first["found"])
        assert all(50 <= nonce < 100 for nonce in second["found"])
        orders.write(json.dumps({"id": 3}) + "\n")
        orders.flush()
        orders.close()
        assert all(json.loads(text)["id"] == 2 for text in reports)
    assert worker.wait() == 0

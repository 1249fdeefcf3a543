"""The second verifier's sums of hours and work come to what every share looked at by itself gives."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.client_web.test_verify_vectors import MODULES

RUNS = 400


@pytest.mark.parametrize("extension", MODULES)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_sums_are_what_every_share_gives(node: str, extension: str, seed: int) -> None:
    script = Path(__file__).with_name("verify_attendance.mjs")
    done = subprocess.run(
        [node, str(script), str(MODULES[extension]), extension, str(seed), str(RUNS)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["runs"] == RUNS
    # Statements whose lanes are all there, and those that leave some out or cut them short.
    assert min(found["whole"], found["apart"]) > RUNS // 5

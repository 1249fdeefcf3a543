"""Building the native hash lanes is optional: a machine that can't compile gets one line and a package that works."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_without_a_compiler_the_build_says_so_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    build = ["setup.py", "--quiet", "build_ext", "--build-lib", str(tmp_path), "--build-temp", str(tmp_path)]
    done = subprocess.run([sys.executable, *build], cwd=ROOT, capture_output=True, text=True, check=True)
    (line,) = (done.stdout + done.stderr).splitlines()
    assert line == "no C compiler (no-such-compiler): shares will be hashed in pure Python, at a tenth of the speed"
    assert not list(tmp_path.rglob("*.so"))

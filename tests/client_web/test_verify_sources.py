"""The second verifier's sources: the page's modules are made of them, and they are sound TypeScript."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "client_web" / "verify"
EMITTED = ROOT / "client_web" / "static" / "verify"
NPM = Path(__file__).with_name("npm")
# Only these run under node alone, and no page loads them.
NODE_ONLY = {"build", "cli"}


def test_the_pages_modules_are_those_of_the_sources(node: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [node, str(SOURCES / "build.ts"), str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert {path.name: path.read_text() for path in EMITTED.iterdir()} == made, "run node client_web/verify/build.ts"
    assert {name.removesuffix(".js") for name in made} == {path.stem for path in SOURCES.glob("*.ts")} - NODE_ONLY


def test_the_verifier_takes_nothing_from_elsewhere() -> None:
    """Independent, and nothing to install: its modules import each other, and node's own where only node runs."""
    for path in sorted(SOURCES.glob("*.ts")):
        origins = [
            line.rsplit(" from ", 1)[1].strip('";')
            for line in path.read_text().splitlines()
            if line.startswith(("import ", "} from ", "export {")) and " from " in line
        ]
        strange = [each for each in origins if not each.startswith("./")]
        assert path.stem in NODE_ONLY or not strange, path
        assert all(each.startswith("node:") for each in strange), path


def test_the_types_are_sound(node: str, tmp_path: Path) -> None:
    """`tsc --strict` over the sources; the compiler comes from npm, pinned by its lock."""
    npm = Path(node).with_name("npm")
    environment = {**os.environ, "PATH": f"{Path(node).parent}{os.pathsep}{os.environ['PATH']}"}
    # Installed in a folder of its own, so that a run leaves nothing behind in the checkout.
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(NPM / name, tmp_path)
    try:
        installed = subprocess.run(
            [str(npm), "ci", "--prefer-offline"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"npm could not install the type checker: {error}")
    if installed.returncode != 0:
        pytest.skip(f"npm could not install the type checker: {installed.stderr.strip()[-300:]}")
    modules = tmp_path / "node_modules"
    done = subprocess.run(
        [node, str(modules / "typescript/bin/tsc"), "-p", str(NPM), "--typeRoots", str(modules / "@types")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_lock_names_no_registry() -> None:
    assert '"resolved"' not in (NPM / "package-lock.json").read_text()

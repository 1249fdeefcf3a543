"""Pure by default: outside `service.py` and `adapters/`, no module of the services or of nips touches the world."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("nips", "stratum_edge", "relay_bridge", "accounting", "zapper", "client_web")
WORLD = frozenset(
    {"asyncio", "anyio", "socket", "ssl", "sqlite3", "aiosqlite", "time", "random", "os", "secrets", "subprocess"}
    | {"threading", "multiprocessing", "shutil", "tempfile", "httpx", "websockets", "uvicorn", "uvloop", "pbk"}
)
# client_web's application factory is FastAPI's: pure of I/O itself, async by its framework's nature.
MODULES = sorted(
    path
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if "adapters" not in path.parts and path.name != "service.py"
)


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.split(".")[0])
    return found


def test_there_are_modules_to_judge() -> None:
    assert len(MODULES) > 40


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_core_module_is_pure(path: Path) -> None:
    assert imported(path) & WORLD == set()

"""Demo miners: regtest only, keys of their own, profiles with a lightning address; they end with the pool."""

import json
import socket
from pathlib import Path

import anyio
import pytest

from nips.nip01 import VerifiedEvent
from noncestr.clock import WallClock
from noncestr.demo.miners import DemoMiners
from noncestr.running import running


def miners(tmp_path: Path, published: list[VerifiedEvent], url: str, network: str = "regtest") -> DemoMiners:
    async def publish(event: VerifiedEvent) -> None:
        published.append(event)

    return DemoMiners(
        keys_dir=tmp_path / "keys", network=network, count=2, max_hps=1000, url=url, lightning="127.0.0.1:9",
        publish=publish, clock=WallClock(), log_dir=tmp_path / "logs",
    )  # fmt: skip


def mining_at(url: str) -> int:
    """How many miners were started to mine there. A process of theirs that was just forked has the same words."""
    lines = {path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()}
    return sum(url.encode() in line for line in lines)


def test_another_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="for regtest, not for main"):
        miners(tmp_path, [], "stratum+tcp://127.0.0.1:1", network="main")


@pytest.mark.anyio
async def test_they_connect_with_their_npubs_and_end_with_the_pool(tmp_path: Path) -> None:
    published: list[VerifiedEvent] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        url = f"stratum+tcp://127.0.0.1:{listener.getsockname()[1]}"
        demo = miners(tmp_path, published, url)
        async with running(demo.run):
            with anyio.fail_after(60):
                await anyio.wait_readable(listener)
            assert mining_at(url) == 2
    assert [json.loads(event.content)["lud16"] for event in published] == ["alice@127.0.0.1:9", "bob@127.0.0.1:9"]
    assert demo.users() == {"alice": published[0].pubkey, "bob": published[1].pubkey}
    assert mining_at(url) == 0

"""What becomes of journals that nobody goes on in, and of a configuration as an edge takes it."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from nips.keys import SecretKey
from nips.pool.address import PoolAddress
from noncestr.clock import WallClock
from noncestr.config.sections import ChainConfig, Config, LogConfig, StratumConfig
from noncestr.edge.edges import OneEdge
from noncestr.edge.lanes import LanePlan, journal_of, journals_in
from noncestr.edge.parts import Surroundings, _finish, edge_config, make_edge, put_away_drained, put_away_ended
from noncestr.edge.workers import Workers
from noncestr.places import place_stratum
from stratum_edge.adapters.journal_file import JournalFile
from stratum_edge.journal import Checkpoint, Kind, encode_json

KEY = SecretKey(hashlib.sha256(b"noncestr test key parts").digest())
POOL = PoolAddress(KEY.pubkey, "regtest")

pytestmark = pytest.mark.anyio


def keep_journal(folder: Path, lane: int, pubkey: str = KEY.pubkey) -> None:
    journal = JournalFile(folder)
    start = Checkpoint(
        pool=str(POOL), pubkey=pubkey, lane=lane, from_ms=0, newest_s=0, seq=None, head="", pending=[], blocks=[]
    )
    assert journal.rotate(encode_json(Kind.CHECKPOINT, start))
    journal.close()


class Outbox:
    def __init__(self) -> None:
        self.events: list = []

    async def publish(self, event, *, chain: str = "") -> None:
        self.events.append(event)


def around(data: Path) -> Surroundings:
    return Surroundings(
        data=data, pool=POOL, signer=KEY, source=None, terms=None, publisher=Outbox(), clock=WallClock(),
        log=LogConfig(),
    )  # fmt: skip


async def test_a_lane_nobody_goes_on_in_is_finished_and_its_journal_kept(tmp_path: Path) -> None:
    house = around(tmp_path)
    left = journal_of(house.journal, 1)
    keep_journal(left, 1)
    await _finish(house, left)
    (last,) = house.publisher.events
    assert (last.tag_value("lane"), last.tag_value("fin")) == ("1", "1")
    assert journals_in(house.journal) == {}
    assert list((house.journal / "over" / "1").glob("*.journal"))


async def test_one_that_can_not_be_finished_stays_and_is_said(tmp_path: Path, caplog) -> None:
    house = around(tmp_path)
    left = journal_of(house.journal, 1)
    keep_journal(left, 1, pubkey="ab" * 32)
    await _finish(house, left)
    assert "can't be finished" in caplog.text
    assert list(journals_in(house.journal)) == [1]


async def test_journals_of_ended_lanes_make_room(tmp_path: Path) -> None:
    house = around(tmp_path)
    for process in range(2):
        keep_journal(journal_of(house.journal, process), 5 + process)
    await put_away_ended(house, LanePlan((7, 6), {}, over=(journal_of(house.journal, 0),)))
    assert list(journals_in(house.journal)) == [1]
    put_away_drained(house, LanePlan((7, 6), {}), left=1)
    assert list(journals_in(house.journal)) == [100_006]
    keep_journal(journal_of(house.journal, 0), 8)
    put_away_drained(house, LanePlan((8,), {}), left=0)
    assert list(journals_in(house.journal)) == [100_006]


def test_the_configuration_as_the_edge_takes_it(tmp_path: Path) -> None:
    address = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
    config = replace(Config(), chain=ChainConfig(payout=address), stratum=StratumConfig(port=0, pool_tag="/me/"))
    made = edge_config(config, place_stratum(config, lan=False), KEY.pubkey, lan=False)
    assert made.payout_script[:2] == b"\x00\x14"
    assert (made.pool_tag, [port.name for port in made.ports]) == (b"/me/", ["main"])
    assert made.node_grace_s == config.node.grace_seconds
    assert isinstance(make_edge(around(tmp_path), made, LanePlan((3,), {})), OneEdge)
    assert isinstance(make_edge(around(tmp_path), made, LanePlan((3, 4), {})), Workers)

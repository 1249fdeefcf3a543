"""`journal check|salvage` on the folder of an edge that does not run."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent
from nips.pool.address import PoolAddress
from noncestr.commands.journal import journal_app
from noncestr.errors import NoncestrError
from stratum_edge.adapters.journal_file import JournalFile
from stratum_edge.journal import Checkpoint, Kind, encode_json, encode_record, encode_session, encode_share
from stratum_edge.lane import SessionKey

KEY = SecretKey(b"\x02" * 32)
POOL = PoolAddress(KEY.pubkey, "regtest")


def run(*arguments: str, status: int = 0) -> str:
    result = CliRunner().invoke(journal_app, list(arguments), catch_exceptions=False)
    assert result.exit_code == status
    return result.output


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A lane's journal with a session and three shares to seal, one frame each."""
    folder = tmp_path / "journal"
    journal = JournalFile(folder)
    assert journal.recover() is None
    journal.rotate(
        encode_json(Kind.CHECKPOINT, Checkpoint(str(POOL), KEY.pubkey, 3, 1_700_000_000_000, 0, None, "", [], []))
    )
    job = KEY.sign(UnsignedEvent(4211, 1_700_000_000, (), "a job"))
    journal.put(encode_json(Kind.JOB, job))
    journal.put(encode_record(Kind.USE, bytes.fromhex(job.id)))
    journal.put(encode_session(SessionKey(KEY.pubkey, "rig", b"\x00" * 4, 0x207FFFFF)))
    for number in range(3):
        journal.put(encode_share(bytes(4) + bytes([number]) * 24))
        assert journal.flush()
    journal.close()
    return folder


def damage(folder: Path, from_end: int) -> bytes:
    (path,) = folder.glob("*.journal")
    data = bytearray(path.read_bytes())
    data[-from_end] ^= 1
    path.write_bytes(bytes(data))
    return bytes(data)


def test_a_whole_journal(folder: Path) -> None:
    assert all(word in run("check", str(folder)) for word in ("00000001.journal", "whole", " 3 "))
    [row] = json.loads(run("check", str(folder), "--json"))
    assert (row["state"], row["counts"], row["holds"]["lane"], row["holds"]["shares_to_seal"]) == ("whole", True, 3, 3)
    assert (row["holds"]["pool"], row["holds"]["edge"]) == (str(POOL), KEY.pubkey)
    assert "nothing to do" in run("salvage", str(folder))


def test_a_damaged_share_is_told_and_the_rest_goes_on(folder: Path) -> None:
    # The frame before the last share's, and the mark of a clean end behind it.
    data = damage(folder, 32 + 65 + 5)
    told = run("check", str(folder), status=1)
    assert "1 records, 0 batches closed among them" in told
    assert "2 shares of its open batch can be sealed" in told
    [row] = json.loads(run("check", str(folder), "--json", status=1))
    assert row["damage"]["lane_can_go_on"]
    assert row["damage"]["records_lost"] == 1
    assert "Start the edge" in run("salvage", str(folder))
    assert (folder / "00000001.damaged").read_bytes() == data
    journal = JournalFile(folder)
    recovered = journal.recover()
    assert recovered is not None
    assert [record[4] for record in recovered.shares] == [0, 2]
    journal.close()
    assert "whole" in run("check", str(folder))


def test_a_damaged_checkpoint_is_refused_with_what_to_do(folder: Path) -> None:
    (path,) = folder.glob("*.journal")
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(bytes(data))
    said = run("salvage", str(folder), status=1)
    assert "can't go on" in said
    assert "opens a new lane" in said
    assert path.read_bytes() == bytes(data)
    [row] = json.loads(run("salvage", str(folder), "--json", status=1))
    assert (row["damage"]["lane_can_go_on"], row["written"]) == (False, None)


def test_a_torn_end(folder: Path) -> None:
    (path,) = folder.glob("*.journal")
    path.write_bytes(path.read_bytes()[:-40])
    assert "cuts off 57 bytes" in run("check", str(folder))


def test_no_journal_or_one_in_use(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(NoncestrError, match="no journal"):
        run("check", str(tmp_path / "nowhere"))
    assert not (tmp_path / "nowhere").exists()
    journal = JournalFile(folder)
    for command in ("check", "salvage"):
        with pytest.raises(NoncestrError, match="stop the edge first"):
            run(command, str(folder))
    journal.close()

"""What the citizen remembers through a kill, and what it forgets."""

import hashlib
from pathlib import Path

import pytest

from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent
from noncestr.citizen.limits import Answered
from noncestr.citizen.memory import KEEP_MS, open_memory
from noncestr.errors import NoncestrError

KEY = SecretKey(hashlib.sha256(b"noncestr test key pool").digest())
NOTE = KEY.sign(UnsignedEvent(1, 5, (), "a note"))
NOW = 1_800_000_000_000


@pytest.mark.anyio
async def test_a_note_stays_unsent_until_it_is_said_to_be(tmp_path: Path) -> None:
    path = tmp_path / "citizen.sqlite"
    async with open_memory(path, NOW) as memory:
        await memory.add_note("block:1", NOTE, NOW)
    async with open_memory(path, NOW) as memory:
        assert await memory.unsent() == [("block:1", NOTE)]
        assert (memory.subjects, memory.noted_ms) == ({"block:1"}, [NOW])
        await memory.mark_sent("block:1")
    async with open_memory(path, NOW) as memory:
        assert await memory.unsent() == []
        assert memory.subjects == {"block:1"}


@pytest.mark.anyio
async def test_silence_keeps_a_subject_and_counts_as_no_note(tmp_path: Path) -> None:
    path = tmp_path / "citizen.sqlite"
    async with open_memory(path, NOW) as memory:
        await memory.add_silence("block:1", NOW)
    async with open_memory(path, NOW) as memory:
        assert await memory.unsent() == []
        assert (memory.subjects, memory.noted_ms) == ({"block:1"}, [])


@pytest.mark.anyio
async def test_a_blocks_work_is_what_was_done_since_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "citizen.sqlite"
    huge = 2**90
    async with open_memory(path, NOW) as memory:
        await memory.add_sighting("a", NOW, 10)
        await memory.add_sighting("b", NOW, 10 + huge)
    async with open_memory(path, NOW + 2 * KEEP_MS) as memory:
        # Only the newest is left, and the next one's work begins there.
        assert memory.efforts == {"b": huge}
        await memory.add_sighting("c", NOW, 15 + huge)
        assert memory.efforts["c"] == 5
        # Seen too late to say: neither its own work nor the next one's is known.
        await memory.add_sighting("d", NOW, None)
        await memory.add_sighting("e", NOW, 100 + huge)
        # The log was shortened meanwhile.
        await memory.add_sighting("f", NOW, 7)
        assert [memory.efforts[name] for name in "def"] == [None, None, None]


@pytest.mark.anyio
async def test_questions_are_remembered_and_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "citizen.sqlite"
    async with open_memory(path, NOW) as memory:
        await memory.add_answer("q1", Answered(NOW - KEEP_MS, "alice", "balance"))
        await memory.add_answer("q2", Answered(NOW, "bob", "hashrate"), "an answer")
    async with open_memory(path, NOW) as memory:
        assert (memory.questions, memory.answers) == ({"q1", "q2"}, {"an answer"})
        assert memory.answered == [Answered(NOW - KEEP_MS, "alice", "balance"), Answered(NOW, "bob", "hashrate")]
        await memory.load(NOW + 1)
        assert memory.questions == {"q2"}


@pytest.mark.anyio
async def test_a_file_that_is_no_memory_is_named(tmp_path: Path) -> None:
    path = tmp_path / "citizen.sqlite"
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(NoncestrError, match=r"citizen\.sqlite"):
        async with open_memory(path, NOW):
            pass

"""The note that tells people of a block."""

from stratum_edge.journal import FoundBlock
from stratum_edge.notes import block_note, difficulty_text


def test_the_note_names_finder_height_hash_difficulty_and_luck(edge):
    value = (0xFFFF << 208) // 2000
    block = FoundBlock(
        height=840_000,
        hash=value.to_bytes(32, "little"),
        header=bytes(80),
        coinbase=b"",
        merkle=[],
        miner=edge.MINER.pubkey,
        index=0,
        found_ms=edge.NOW + 999,
        block=b"",
        mark=f"{(0xFFFF << 208) // 1000:x}",
        effort_percent=42,
        record=bytes(28),
    )
    note = block_note(edge.POOL, block)
    assert (note.kind, note.created_at) == (1, edge.NOW // 1000)
    for words in ("840000", "nostr:" + edge.NPUB, f"{value:064x}", "2.0k", "1.0k", "42 %"):
        assert words in note.content
    assert ("p", edge.MINER.pubkey) in note.tags
    assert ("a", str(edge.POOL)) in note.tags


def test_difficulties_read_well():
    one = 0xFFFF << 208
    assert difficulty_text(one // 86_400_000_000_000) == "86.4T"
    assert difficulty_text(one // 999) == "999"
    assert difficulty_text(one << 13) == "0.0001221"

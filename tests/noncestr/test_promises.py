"""The configuration as terms."""

from pathlib import Path

from nips.pool.targets import work_from_bits
from noncestr.config import Config
from noncestr.promises import Keys, terms_body


def test_terms_say_what_the_configuration_promises(tmp_path: Path) -> None:
    keys = Keys.load(tmp_path)
    body = terms_body(Config(), keys, ("ws://a",), 0x1E1FFFE0)
    assert dict(body.keys) == {
        keys.edge.pubkey: "edge", keys.accounting.pubkey: "accounting", keys.zapper.pubkey: "zapper",
    }  # fmt: skip
    assert body.offers["main"].window_min_work == 8 * work_from_bits(0x1E1FFFE0)
    assert (body.limits.block_bits, body.limits.maturity_blocks) == (0x1E1FFFE0, 6)
    assert body.log.relays == ("ws://a",)

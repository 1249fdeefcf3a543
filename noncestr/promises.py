"""What the pool promises, and who may sign for it: the configuration and the keys as terms (4210)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nips.keys import SecretKey
from nips.pool.chain import Head
from nips.pool.targets import work_from_bits
from nips.pool.terms import Limits, LogTerms, Offer, PayoutTerms, TermsBody
from noncestr.config import Config
from noncestr.keyfiles import load_or_create

OFFER = "main"


@dataclass(frozen=True, slots=True)
class Keys:
    """The pool's keys, one a role."""

    pool: SecretKey
    edge: SecretKey
    accounting: SecretKey
    zapper: SecretKey
    wallet: SecretKey

    @classmethod
    def load(cls, directory: Path) -> "Keys":
        """From files, made at the first start. Raises KeyFileError."""
        return cls(*(load_or_create(directory, name) for name in cls.__slots__))

    def roles(self) -> tuple[tuple[str, SecretKey], ...]:
        """The delegated keys and what they may sign."""
        return (("edge", self.edge), ("accounting", self.accounting), ("zapper", self.zapper))


def terms_body(
    config: Config, keys: Keys, relays: tuple[str, ...], block_bits: int, closed: Mapping[str, Head] | None = None
) -> TermsBody:
    """What the configuration promises. On regtest the network's work is next to nothing, so that the window's floor is
    reckoned from the demo target instead.
    """
    terms = config.terms
    return TermsBody(
        offers={
            OFFER: Offer(
                scheme="pplns",
                fee_ppm=terms.fee_ppm,
                window_milli=terms.window_milli,
                window_min_work=terms.window_milli * work_from_bits(block_bits) // 1000,
                window_max_ms=terms.window_max_seconds * 1000,
            )
        },
        keys=tuple((signer.pubkey, role) for role, signer in keys.roles()),
        closed=closed or {},
        limits=Limits(
            batch_seconds=terms.batch_seconds,
            heartbeat_seconds=terms.heartbeat_seconds,
            maturity_blocks=terms.maturity_blocks,
            block_bits=block_bits,
        ),
        payouts=PayoutTerms(
            minimum_msat=terms.minimum_payout_sat * 1000, interval_s=config.payouts.interval_seconds, network_fee="pool"
        ),
        log=LogTerms(relays=relays),
    )

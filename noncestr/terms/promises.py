"""What the pool promises, and who may sign for it: the configuration and the keys as terms (4210)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nips.keys import AsyncSigner, AtHand, SecretKey
from nips.nip19 import encode_npub, parse_pubkey
from nips.pool.chain import Head
from nips.pool.terms import EVERY_CHAIN, NEVER, Limits, LogTerms, Offer, Terms, TermsBody
from noncestr.chains import coinbase_script
from noncestr.clock import WallClock
from noncestr.config.offers import all_offers
from noncestr.config.payout_script import address_of
from noncestr.config.sections import Config
from noncestr.errors import NoncestrError
from noncestr.keys.files import BUNKER, find, load_bunker, load_or_create
from noncestr.keys.passphrase import Passphrase
from noncestr.keys.remote_key import RemoteKey
from noncestr.payouts.policy import payout_terms
from stratum_edge.demo_target import block_bits_for

REGTEST = "regtest"
# Consensus (Bitcoin Core's COINBASE_MATURITY): no reward can be spent before, so none is payable.
COINBASE_MATURITY = 100
# [terms] lane_grace_seconds where terms of an older version say nothing.
DEFAULT_GRACE_MS = 600_000


def load_signer(directory: Path, name: str, ask: Passphrase) -> AsyncSigner:
    """A key from its file, made if there is none, or the remote signer that a file names. Raises KeyFileError."""
    path = find(directory, name)
    if path is not None and path.suffix == BUNKER:
        return RemoteKey(load_bunker(path), WallClock())
    return AtHand(load_or_create(directory, name, ask))


def key_at_hand(signer: AsyncSigner) -> SecretKey | None:
    """The key itself, unless a remote signer has it."""
    return signer.key if isinstance(signer, AtHand) and isinstance(signer.key, SecretKey) else None


@dataclass(frozen=True, slots=True)
class Keys:
    """The pool's keys, one a role. Pool and accounting sign a few times a minute at most: theirs may be elsewhere."""

    pool: AsyncSigner
    edge: SecretKey
    accounting: AsyncSigner
    zapper: SecretKey
    wallet: SecretKey

    @classmethod
    def load(cls, directory: Path) -> "Keys":
        """From files, made at the first start. Raises KeyFileError."""
        ask = Passphrase()

        def at_hand(name: str) -> SecretKey:
            return load_or_create(directory, name, ask)

        pool, accounting = (load_signer(directory, name, ask) for name in ("pool", "accounting"))
        return cls(pool, at_hand("edge"), accounting, at_hand("zapper"), at_hand("wallet"))

    @property
    def pool_at_hand(self) -> SecretKey | None:
        """The pool's key, unless a remote signer has it."""
        return key_at_hand(self.pool)

    @property
    def remote(self) -> tuple[RemoteKey, ...]:
        """Those that are elsewhere, to be kept in touch with."""
        return tuple(key for key in (self.pool, self.accounting) if isinstance(key, RemoteKey))

    def roles(self) -> tuple[tuple[str, AsyncSigner], ...]:
        """The delegated keys and what they may sign."""
        return (("edge", AtHand(self.edge)), ("accounting", self.accounting), ("zapper", AtHand(self.zapper)))


def further_edges(config: Config) -> tuple[str, ...]:
    """The public keys (hex) of edges on other hosts, each once."""
    return tuple(dict.fromkeys(parse_pubkey(key) for key in config.edge.keys))


def refuse_others(config: Config, keys: Keys) -> None:
    """Raises NoncestrError when the accounting or the zapper is configured to be a process of its own: two of either
    would fork its chain or pay twice.
    """
    for role, named, own in (
        ("accounting", config.pool.accounting, keys.accounting.pubkey),
        ("zapper", config.pool.zapper, keys.zapper.pubkey),
    ):
        if named and parse_pubkey(named) != own:
            raise NoncestrError(
                f"[pool] {role} is a process of its own, and `noncestr up` has one too: `noncestr pool run` has none"
            )


def refuse_revoked(config: Config, closed: Mapping[str, Head]) -> None:
    """Raises NoncestrError for a further edge that terms have left out before: all it signs is void for good."""
    for key in further_edges(config):
        if closed.get(f"{key}/{EVERY_CHAIN}") == NEVER:
            raise NoncestrError(
                f"[edge] keys: the terms left {encode_npub(key)} out once, and what it signs is void for good: the"
                " edge needs a new key (another --data folder makes one)"
            )


def refuse_changed_schemes(offers: Mapping[str, Offer], issued: Sequence[Terms]) -> None:
    """Raises NoncestrError for an offer that earlier terms named with another scheme: its shares would be counted by
    both, or by neither.
    """
    for name, offer in sorted(offers.items()):
        known = next((terms.body.offers[name] for terms in reversed(issued) if name in terms.body.offers), None)
        if known is not None and known.scheme != offer.scheme:
            raise NoncestrError(
                f"offer {name} was {known.scheme} in earlier terms and keeps that for good: give {offer.scheme} another"
                " name in [[offers]], and name that at the ports"
            )


def first_block_bits(config: Config) -> int | None:
    """Regtest's stricter mark for a block, as the demo miners' hashrate asks for; None elsewhere: the chain says."""
    if config.pool.network != REGTEST:
        return None
    hashrate = max(1, config.demo.miners) * config.demo.hashes_per_second
    # Half as hard as the hashrate asks for, so that a newcomer sees a block soon.
    return block_bits_for(hashrate, max(1, config.chain.block_seconds // 2))


def named_keys(config: Config, own: Iterable[tuple[str, AsyncSigner]]) -> tuple[tuple[str, str], ...]:
    """The keys that the terms name: our `own` (role, key), and the further edges, as (public key in hex, role)."""
    ours = tuple((signer.pubkey, role) for role, signer in own)
    return (*ours, *((key, "edge") for key in further_edges(config) if (key, "edge") not in ours))


def terms_body(
    config: Config,
    pool: str,
    named: Sequence[tuple[str, str]],
    relays: tuple[str, ...],
    block_bits: int | None,
    closed: Mapping[str, Head] | None = None,
) -> TermsBody:
    """What the configuration promises, of the pool with this key (hex), whose keys are `named` with their roles.

    On regtest the network's work is next to nothing, so that the window's floor is reckoned from the demo target
    (`block_bits`) instead.
    """
    terms = config.terms
    maturity = terms.maturity_blocks if block_bits is not None else max(terms.maturity_blocks, COINBASE_MATURITY)
    return TermsBody(
        offers=all_offers(terms, config.offers, block_bits),
        keys=tuple(named),
        closed=closed or {},
        limits=Limits(
            batch_seconds=terms.batch_seconds,
            heartbeat_seconds=terms.heartbeat_seconds,
            maturity_blocks=maturity,
            block_bits=block_bits,
            lane_grace_ms=terms.lane_grace_seconds * 1000,
        ),
        payouts=payout_terms(config, address_of(coinbase_script(config, pool), config.pool.network)),
        log=LogTerms(relays=relays),
        donate_to=parse_pubkey(terms.donate_to) if terms.donate_to else None,
    )

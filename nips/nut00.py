"""Cashu, NUT-00: proofs (ecash) as JSON has them, the point of a secret, and the URLs of mints."""

import hashlib
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import coincurve
import msgspec

from nips.errors import NipError

# A P2PK secret with a refund and two times has some 350 characters; mints take 1,024 at most.
MAX_SECRET = 1024
# Amounts are powers of two: 64 proofs make any amount, and an event of 60,000 bytes holds about 60 with their locks.
MAX_PROOFS = 64
MAX_AMOUNT = 2**63
MAX_URL = 255
# Keysets of version 1 have 8 bytes, of version 2 33; those before had 12 characters of base64.
_KEYSET = re.compile(r"[0-9a-f]{16}|[0-9a-f]{66}|[A-Za-z0-9+/]{12}")
_POINT = re.compile(r"0[23][0-9a-f]{64}")
_HEX64 = re.compile(r"[0-9a-f]{64}")
_UNIT = re.compile(r"[a-z0-9_-]{1,16}")
_HOST = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?|[0-9a-f:.]{2,45}")
_DOMAIN_SEPARATOR = b"Secp256k1_HashToCurve_Cashu_"
_DEFAULT_PORTS = {"http": 80, "https": 443}


class InvalidProof(NipError):
    """A value is no proof of Cashu, or not one that can be relied on."""


class InvalidMintUrl(NipError):
    """A text is not the URL of a mint."""


class Dleq(msgspec.Struct, frozen=True):
    """NUT-12: challenge, response and blinding factor, each 64 hex digits."""

    e: str
    s: str
    r: str


class Proof(msgspec.Struct, frozen=True, omit_defaults=True):
    """Ecash: the mint's signature `C` (a point in hex) on `secret`, worth `amount` of the keyset's unit."""

    id: str
    amount: int
    secret: str
    C: str
    dleq: Dleq | None = None
    witness: str | None = None


def _matches(form: re.Pattern[str], *values: object) -> bool:
    return all(isinstance(value, str) and form.fullmatch(value) for value in values)


def parse_proof(value: object) -> Proof:
    """A proof out of decoded JSON. Unknown fields are passed over. Raises InvalidProof."""
    if not isinstance(value, dict):
        raise InvalidProof("a proof is a JSON object")
    keyset, amount, secret, point = (value.get(name) for name in ("id", "amount", "secret", "C"))
    if not _matches(_KEYSET, keyset):
        raise InvalidProof("a proof names its keyset")
    if type(amount) is not int or not 0 < amount <= MAX_AMOUNT:
        raise InvalidProof("the amount of a proof is a positive whole number")
    if not isinstance(secret, str) or not 0 < len(secret) <= MAX_SECRET:
        raise InvalidProof(f"the secret of a proof has 1 to {MAX_SECRET} characters")
    if not _matches(_POINT, point):
        raise InvalidProof("the C of a proof is a compressed point in hex")
    witness = value.get("witness")
    return Proof(
        id=str(keyset),
        amount=amount,
        secret=secret,
        C=str(point),
        dleq=_parse_dleq(value.get("dleq")),
        witness=witness if isinstance(witness, str) and witness else None,
    )


def _parse_dleq(value: Any) -> Dleq | None:
    if value is None:
        return None
    if not isinstance(value, dict) or not _matches(_HEX64, *(value.get(name) for name in "esr")):
        raise InvalidProof("the DLEQ of a proof has e, s and r of 64 hex digits each")
    return Dleq(value["e"], value["s"], value["r"])


def parse_proofs(value: object) -> tuple[Proof, ...]:
    """Proofs out of a decoded JSON array, all different. Raises InvalidProof."""
    if not isinstance(value, list) or not 0 < len(value) <= MAX_PROOFS:
        raise InvalidProof(f"proofs are an array of 1 to {MAX_PROOFS}")
    proofs = tuple(parse_proof(each) for each in value)
    check_distinct(proofs)
    return proofs


def check_distinct(proofs: Sequence[Proof]) -> None:
    """Whether each secret stands once: the mint takes it once only. Raises InvalidProof."""
    if len({proof.secret for proof in proofs}) != len(proofs):
        raise InvalidProof("the same proof stands twice")


def total(proofs: Sequence[Proof]) -> int:
    """What the proofs are worth together, in their unit."""
    return sum(proof.amount for proof in proofs)


def hash_to_curve(message: bytes) -> coincurve.PublicKey:
    """The point Y of a message. Its secret key is known to nobody."""
    hashed = hashlib.sha256(_DOMAIN_SEPARATOR + message).digest()
    # Every second try lies on the curve; the NUT stops after 2**16.
    for counter in range(2**16):
        digest = hashlib.sha256(hashed + counter.to_bytes(4, "little")).digest()
        try:
            return coincurve.PublicKey(b"\x02" + digest)
        except ValueError:
            continue
    raise ValueError("no point in 2^16 tries: this does not happen")


def proof_y(proof: Proof) -> str:
    """The Y of a proof in hex: what a mint is asked by whether it was spent (NUT-07)."""
    return str(hash_to_curve(proof.secret.encode()).format().hex())


def is_unit(text: str) -> bool:
    """Whether a text can name a unit (`sat`, `usd`, ...)."""
    return bool(_UNIT.fullmatch(text))


def normal_mint_url(text: str) -> str:
    """A mint's URL in the form in which equal mints are equal text: scheme and host in lower case, no default port, no
    slash at the end. Raises InvalidMintUrl.
    """
    text = text.strip()
    if len(text) > MAX_URL or not text.isascii() or any(ord(char) <= 32 or ord(char) == 127 for char in text):
        raise InvalidMintUrl(f"a mint's URL is ASCII without spaces, at most {MAX_URL} characters")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise InvalidMintUrl("this is not a URL") from None
    if parts.scheme not in _DEFAULT_PORTS or not _HOST.fullmatch(host) or port == 0:
        raise InvalidMintUrl("a mint's URL starts with https:// (or http://) and names a host")
    if "@" in parts.netloc or "#" in text or "?" in text or "\\" in text:
        raise InvalidMintUrl("a mint's URL has neither a login nor a query nor a fragment")
    host = f"[{host}]" if ":" in host else host
    where = host if port in (None, _DEFAULT_PORTS[parts.scheme]) else f"{host}:{port}"
    return f"{parts.scheme}://{where}{parts.path.rstrip('/')}"

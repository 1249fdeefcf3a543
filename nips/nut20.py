"""Cashu, NUT-20: only the key that asked for a mint quote may have it issued."""

import hashlib
from collections.abc import Iterable

from nips.keys import SecretKey
from nips.nut03 import Output


def sign_quote(quote: str, outputs: Iterable[Output], key: SecretKey) -> str:
    """The BIP-340 signature (hex) over the quote's id and the outputs' B_, all as text."""
    text = quote + "".join(output.blinded() for output in outputs)
    return key.sign_digest(hashlib.sha256(text.encode()).digest()).hex()

"""Private messages of the zapper: the key, the chance and the dates of NIP-17's gift wraps."""

import secrets
from collections.abc import Callable

from nips.keys import SecretKey
from nips.nip01 import VerifiedEvent
from nips.nip17 import build_chat
from nips.nip44 import KeyCipher
from nips.nip59 import MAX_TWEAK_S, OneTime, gift_wrap


class KeyWrapper:
    """See `zapper.ecash_ports.Wrapper`: with a key in memory. `clock` gives Unix ms."""

    def __init__(self, key: SecretKey, clock: Callable[[], int]) -> None:
        self._key = key
        self._cipher = KeyCipher(key)
        self._clock = clock

    def wrap(self, recipient: str, text: str) -> VerifiedEvent:
        """The gift wrap of a message to that key (hex)."""
        now_s = self._clock() // 1000
        rumor = build_chat(sender=self._key.pubkey, recipients=[recipient], text=text, created_at=now_s)
        once = OneTime(
            key=SecretKey(secrets.token_bytes(32)),
            seal_nonce=secrets.token_bytes(32),
            wrap_nonce=secrets.token_bytes(32),
            seal_at=now_s - secrets.randbelow(MAX_TWEAK_S),
            wrap_at=now_s - secrets.randbelow(MAX_TWEAK_S),
        )
        return gift_wrap(rumor, signer=self._key, cipher=self._cipher, recipient=recipient, once=once)

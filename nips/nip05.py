"""NIP-05: internet identifiers, `name@domain`, and the document that says which key is behind one.

Asking the domain is for others; what it answers is judged here.
"""

import json
import re
from typing import NamedTuple

from nips.errors import NipError
from nips.keys import is_valid_xonly

# A document with every name of a large domain is some MB; asked for one name, a good server answers with that one.
MAX_DOCUMENT = 64 * 1024
# DNS allows names of 253 characters (RFC 1035); the longest mailbox name has 64 (RFC 5321).
MAX_DOMAIN = 253
# NIP-05: "The <local-part> part MUST only use characters a-z0-9-_."
_LOCAL = re.compile(r"[a-z0-9._-]{1,64}")
# Names of the internet: two labels at least, and a last one that is no number, so that an IP address is none.
_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+(?![0-9]+$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_HEX64 = re.compile(r"[0-9a-f]{64}")
ROOT = "_"


class InvalidIdentifier(NipError):
    """A text is no NIP-05 identifier, or a domain's document does not name a key for one."""


class Identifier(NamedTuple):
    """`name@domain`, both in lower case; the name `_` stands for the domain itself."""

    name: str
    domain: str

    def __str__(self) -> str:
        return f"{self.name}@{self.domain}"

    @property
    def url(self) -> str:
        """Where the domain answers for this name. No redirect of it may be followed."""
        return f"https://{self.domain}{self.target}"

    @property
    def target(self) -> str:
        """Path and query of the URL; a name has no character that would have to be escaped."""
        return f"/.well-known/nostr.json?name={self.name}"


def parse_identifier(text: str) -> Identifier:
    """The identifier a text means, in any case of letters; a domain alone is `_@domain`. Raises InvalidIdentifier."""
    before, separator, after = text.strip().lower().rpartition("@")
    name, domain = (before, after) if separator else (ROOT, after)
    if not _LOCAL.fullmatch(name):
        raise InvalidIdentifier("the name before the @ has only letters, digits and - _ . (NIP-05)")
    if not domain.isascii():
        raise InvalidIdentifier("write the domain in ASCII (xn--...)")
    if len(domain) > MAX_DOMAIN or not _DOMAIN.fullmatch(domain):
        raise InvalidIdentifier("what follows the @ is not the name of a domain")
    return Identifier(name, domain)


class _TwiceNamed(ValueError):
    pass


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _TwiceNamed
    return found


def pubkey_of(body: bytes, identifier: Identifier) -> str:
    """The public key (64 lowercase hex digits) a domain's document gives for a name. Raises InvalidIdentifier."""
    domain = identifier.domain
    if len(body) > MAX_DOCUMENT:
        raise InvalidIdentifier(f"the document of {domain} has more than {MAX_DOCUMENT} bytes")
    try:
        document = json.loads(body.decode("utf-8"), object_pairs_hook=_once)
    except _TwiceNamed:
        raise InvalidIdentifier(f"the document of {domain} names something twice") from None
    except (ValueError, RecursionError):
        raise InvalidIdentifier(f"{domain} does not answer with JSON") from None
    names = document.get("names") if isinstance(document, dict) else None
    if not isinstance(names, dict):
        raise InvalidIdentifier(f"the document of {domain} has no names")
    pubkey = names.get(identifier.name)
    if pubkey is None:
        raise InvalidIdentifier(f"{domain} knows no {identifier.name}")
    # NIP-05: "keys must be returned in hex format. Keys in NIP-19 npub format are only meant to be used for display".
    if not isinstance(pubkey, str) or not _HEX64.fullmatch(pubkey) or not is_valid_xonly(pubkey):
        raise InvalidIdentifier(f"what {domain} gives for {identifier.name} is not a public key in hex")
    return pubkey

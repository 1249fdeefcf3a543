"""Errors of the edge.

    EdgeError
     +-- WireError             bytes that are not the Bitcoin structure they should be (theirs)
     +-- SourceUnavailable     no template can be had now (the node is away, still syncing)
     |    +-- NodeAway         a node does not answer, or not in JSON-RPC
     |    +-- NodeRefused      it answered with an error
     |    +-- BadTemplate      its template contradicts itself, or asks for what we don't know
     +-- WrongChain            a node is on another chain than the one configured
     +-- ChainStoreError       the embedded chain's own block file can't be used
     +-- MalformedLine         a line from a miner that is not a Stratum request (theirs)
     +-- MalformedProxyHeader  what came first on a PROXY port is no PROXY header (theirs)
     +-- PortUnavailable       a port can't be listened on; the text says which and why
     +-- UnusableCertificate   a certificate or key file can't be used; the text says which and why
     +-- NameRefused           a NIP-05 address that can't be resolved, or whose answer changed (theirs)
     +-- JournalError          the journal can't be used
     |    +-- JournalDamaged   a record before the journal's end is broken
     |    +-- JournalInUse     another process has it
     |    +-- ForeignJournal   it is another pool's or another edge key's
     |    +-- LaneFinished     its lane has had its last batch
     +-- HouseGone             the process that has the chain and the outbox does not answer
     +-- HouseRefused          it answered that it can't; its reason is in it
     +-- MinerError            the CPU miner's side of Stratum
          +-- BadReply         what the pool sent is not Stratum V1 (theirs)
          +-- Unauthorized     the pool refused `mining.authorize`; the pool's reason is in it

Our own mistakes are ValueError and TypeError.
"""


class EdgeError(Exception):
    """Something the edge could not do."""


class WireError(EdgeError):
    """Bytes that don't parse as the Bitcoin structure they should be."""


class SourceUnavailable(EdgeError):
    """The template source can't answer now; asking again later may work."""


class ChainStoreError(EdgeError):
    """The embedded chain's block file is in use by another process or not ours."""


class MalformedLine(EdgeError):
    """A line from a miner that is not a Stratum V1 request."""


class MalformedProxyHeader(EdgeError):
    """The first bytes on a port behind a proxy are not a PROXY header."""


class PortUnavailable(EdgeError):
    """A configured port can't be listened on."""


class UnusableCertificate(EdgeError):
    """A port's certificate and key can't be used."""


class NameRefused(EdgeError):
    """A NIP-05 address can't be resolved, or answers otherwise than it did; the text is for the miner."""


class JournalError(EdgeError):
    """The share journal can't be used."""


class JournalDamaged(JournalError):
    """A record before the journal's end is broken: what follows can't be trusted. The edge needs a new lane."""


class LaneFinished(JournalError):
    """The journal's lane has had its last batch (`fin`); another lane must be begun."""


class JournalInUse(JournalError):
    """Another process has the journal open."""


class ForeignJournal(JournalError):
    """The journal belongs to another pool, network or edge key."""


class HouseGone(EdgeError):
    """The process that has the chain and the outbox is away; asking again later may work."""


class HouseRefused(EdgeError):
    """The process that has the chain and the outbox could not do what it was asked."""


class MinerError(EdgeError):
    """The CPU miner can't go on."""


class BadReply(MinerError):
    """A line from the pool that is not Stratum V1."""


class Unauthorized(MinerError):
    """The pool refused to authorize the user."""

    def __init__(self, user: str, reason: str) -> None:
        super().__init__(user, reason)
        self.user = user
        self.reason = reason

    def __str__(self) -> str:
        return f"the pool refused {self.user}: {self.reason}"

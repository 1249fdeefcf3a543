"""TLS on a Stratum port: certificate files into a context, and a connection's bytes through it.

The handshake is done on bytes in memory and not by the loop, so that a connection counts against its address before
the handshake costs anything, and a PROXY header can come before it.
"""

import logging
import ssl
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from stratum_edge.config import TlsFiles
from stratum_edge.errors import UnusableCertificate

log = logging.getLogger(__name__)

# A certificate that ends sooner is warned of at each start and reload: the common issuers renew a month ahead.
WARN_S: Final = 14 * 24 * 3600
# Plaintext taken from OpenSSL at once: a record holds at most this.
_RECORD: Final = 16 * 1024
# Flights of a handshake between two ends in memory: TLS 1.3 takes two, TLS 1.2 four.
_FLIGHTS: Final = 8
_EXPIRED: Final = 10  # X509_V_ERR_CERT_HAS_EXPIRED

_NO_MATCH: Final = "KEY_VALUES_MISMATCH"
_KEY_TYPES: Final = "KEY_TYPE_MISMATCH"


def load_context(files: TlsFiles) -> ssl.SSLContext:
    """A server's context (TLS 1.2 or newer) with the certificate chain and key. Raises UnusableCertificate.

    What is no hindrance but would keep miners away - it expired, or does soon - is a warning in the log.
    """
    for path, what in ((files.certificate, "certificate"), (files.key, "key")):
        try:
            path.read_bytes()
        except OSError as error:
            raise UnusableCertificate(f"the {what} {path} can't be read: {error.strerror}") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A client that renegotiates makes us work for nothing.
    context.options |= ssl.OP_NO_RENEGOTIATION

    def locked() -> str:
        # Asked for the passphrase of an encrypted key; without this OpenSSL would ask on the terminal.
        raise UnusableCertificate(f"the key {files.key} is locked with a passphrase: store it without one")

    try:
        context.load_cert_chain(files.certificate, files.key, password=locked)
    except ssl.SSLError as error:
        if error.reason in (_NO_MATCH, _KEY_TYPES):
            text = f"the key {files.key} does not belong to the certificate {files.certificate}"
        else:
            reason = (error.reason or "they are not PEM").replace("_", " ").lower()
            text = f"the certificate {files.certificate} with the key {files.key} can't be used: {reason}"
        raise UnusableCertificate(text) from None
    complaint = _complaint(context, files.certificate)
    if complaint:
        log.warning("the certificate %s: %s", files.certificate, complaint)
    return context


def _complaint(context: ssl.SSLContext, certificate: Path) -> str:
    """What a miner that trusts this very certificate would still find wrong with it; found by a handshake in memory."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(certificate)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (client.wrap_bio(to_client, to_server), context.wrap_bio(to_server, to_client, server_side=True))
    try:
        for _ in range(_FLIGHTS):
            for end in ends:
                try:
                    end.do_handshake()
                except ssl.SSLWantReadError:
                    continue
    except ssl.SSLCertVerificationError as error:
        if error.verify_code == _EXPIRED:
            return "it has expired: miners that check it will not connect"
        return f"miners that check it will not connect: {error.verify_message}"
    except ssl.SSLError as error:
        return f"it does not complete a handshake: {error}"
    found = ends[0].getpeercert()
    until = str(found["notAfter"]) if found else ""
    if until and ssl.cert_time_to_seconds(until) - time.time() < WARN_S:
        return f"it expires soon, at {until}"
    return ""


class TlsStream:
    """The server's end of one TLS connection, without I/O. Its methods raise ssl.SSLError when the peer breaks it."""

    __slots__ = ("_incoming", "_outgoing", "_tls", "ended", "ready")

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        # Whether the handshake is done; whether the peer said that it sends no more.
        self.ready = False
        self.ended = False

    def feed(self, data: bytes) -> bytes:
        """What the peer said, decrypted as far as it arrived; `take` gives what the handshake has to answer."""
        self._incoming.write(data)
        found = []
        try:
            if not self.ready:
                self._tls.do_handshake()
                self.ready = True
            while piece := self._tls.read(_RECORD):
                found.append(piece)
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        return b"".join(found)

    def take(self) -> bytes:
        """What is to be sent as it is."""
        return self._outgoing.read()

    def encrypt(self, data: bytes) -> bytes:
        """What is to be sent for `data`; only once `ready`."""
        self._tls.write(data)
        return self._outgoing.read()

    def close(self) -> bytes:
        """The farewell (close_notify) to be sent last."""
        if self.ready:
            with suppress(ssl.SSLError):  # the peer's own farewell is not waited for
                self._tls.unwrap()
        return self._outgoing.read()

"""TLS: what a certificate file can be wrong in, and a stream against another implementation's client end."""

import logging
import ssl
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stratum_edge.adapters.tls import TlsStream, load_context
from stratum_edge.config import TlsFiles
from stratum_edge.errors import UnusableCertificate


class Client:
    """The miner's end, in memory."""

    def __init__(self, files: TlsFiles, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> None:
        context = ssl.create_default_context(cafile=str(files.certificate))
        context.maximum_version = newest
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="127.0.0.1")

    def handshake(self) -> bool:
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True


def shake(client: Client, server: TlsStream) -> None:
    for _ in range(4):
        done = client.handshake()
        if data := client.outgoing.read():
            assert server.feed(data) == b""
        client.incoming.write(server.take())
        if done and server.ready:
            return
    raise AssertionError("no handshake")


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_handshake_and_lines_both_ways(authority, newest: ssl.TLSVersion) -> None:
    files = authority.make()
    client, server = Client(files, newest), TlsStream(load_context(files))
    shake(client, server)
    client.tls.write(b"x" * 40_000)
    assert server.feed(client.outgoing.read()) == b"x" * 40_000
    client.incoming.write(server.encrypt(b"y" * 40_000))
    got = b""
    while len(got) < 40_000:
        got += client.tls.read(65_536)
    assert got == b"y" * 40_000
    assert not server.ended
    client.incoming.write(server.close())
    assert client.tls.read() == b""


def test_bytes_may_come_one_by_one_and_the_first_lines_with_the_handshake(authority) -> None:
    files = authority.make()
    client, server = Client(files), TlsStream(load_context(files))
    client.handshake()
    for byte in client.outgoing.read():
        assert server.feed(bytes([byte])) == b""
    client.incoming.write(server.take())
    assert client.handshake()
    client.tls.write(b"line\n")
    got = b"".join(server.feed(bytes([byte])) for byte in client.outgoing.read())
    assert got == b"line\n"


def test_a_peer_that_says_farewell_ends_the_stream(authority) -> None:
    files = authority.make()
    client, server = Client(files), TlsStream(load_context(files))
    shake(client, server)
    client.tls.write(b"last\n")
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.unwrap()
    assert server.feed(client.outgoing.read()) == b"last\n"
    assert server.ended


@given(st.binary(min_size=6, max_size=400))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_no_handshake_is_an_error_or_waited_for(authority, data: bytes) -> None:
    server = TlsStream(load_context(authority.make()))
    with suppress(ssl.SSLError):
        assert server.feed(data) == b""
    assert not server.ready


def test_old_versions_are_refused(authority) -> None:
    context = load_context(authority.make())
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION


def test_each_unusable_file_has_its_sentence(authority, tmp_path: Path) -> None:
    good, other, locked = authority.make(), authority.make(), authority.make(passphrase=b"secret")
    text = tmp_path / "text.pem"
    text.write_text("no PEM")
    missing = tmp_path / "missing.pem"
    for files, says in (
        (TlsFiles(missing, good.key), "the certificate .*missing.pem can't be read: No such file"),
        (TlsFiles(good.certificate, missing), "the key .*missing.pem can't be read: No such file"),
        (TlsFiles(tmp_path, good.key), "can't be read: Is a directory"),
        (TlsFiles(good.certificate, other.key), "the key .* does not belong to the certificate"),
        (TlsFiles(text, good.key), "the certificate .*text.pem with the key .* can't be used: "),
        (TlsFiles(good.certificate, text), "the certificate .* with the key .*text.pem can't be used: "),
        (TlsFiles(good.key, good.certificate), "can't be used: "),
        (locked, "is locked with a passphrase"),
    ):
        with pytest.raises(UnusableCertificate, match=says):
            load_context(files)


@pytest.mark.parametrize(
    ("days", "says"),
    [
        ({"from_days": -20, "to_days": -1}, "it has expired"),
        ({"from_days": 5}, "not yet valid"),
        ({"to_days": 3}, "it expires soon, at "),
        ({}, ""),
    ],
)
def test_a_certificate_that_keeps_miners_away_is_warned_of(
    authority, caplog: pytest.LogCaptureFixture, days: dict[str, float], says: str
) -> None:
    with caplog.at_level(logging.WARNING):
        load_context(authority.make(**days))
    assert [says in record.getMessage() for record in caplog.records] == ([True] if says else [])

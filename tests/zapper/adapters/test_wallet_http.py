"""HTTP to the operator's node: which addresses may be used, and whose certificate is believed."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.zapper.backends.scripted_http import Asked, Told, serve
from zapper.adapters.wallet_http import WalletServer, open_wallet_http, url_problem
from zapper.errors import HttpFailed
from zapper.secret import HIDDEN, Secret


@pytest.mark.parametrize(
    "url",
    [
        "https://node.example:8080",
        "https://node.example/lnd",
        "http://127.0.0.1:9740",
        "http://[::1]:9740",
        "http://192.168.1.7:3010",
        "http://lnd:8080",
        "http://umbrel.local:8080",
        "http://" + "a" * 56 + ".onion",
    ],
)
def test_a_wallets_address(url: str) -> None:
    assert url_problem(url) is None


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://node.example", "clear text"),
        ("http://8.8.8.8:80", "clear text"),
        ("ftp://node.example", "must be https"),
        ("node.example:8080", "must be https"),
        ("https://", "must be https"),
        ("https://user:hunter2@node.example", "must not hold user and password"),
        ("https://node.example/?key=hunter2", "must be https"),
        ("https://node.example:99999", "no URL"),
        ("https://[node", "no URL"),
        ("https://nöde.example", "must be https"),
    ],
)
def test_no_wallets_address(url: str, why: str) -> None:
    problem = url_problem(url)
    assert problem is not None
    assert why in problem
    assert "hunter2" not in problem


@pytest.mark.anyio
async def test_no_client_for_a_bad_address() -> None:
    with pytest.raises(ValueError, match="clear text"):
        async with open_wallet_http(WalletServer("http://node.example")):
            pass


def certificate(folder: Path, name: str) -> tuple[Path, ssl.SSLContext]:
    """A self-signed one for 127.0.0.1, as nodes make them, and a server's context with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, private = folder / f"{name}.pem", folder / f"{name}.key"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, private)
    return pem, context


@pytest.mark.anyio
async def test_only_the_pinned_certificate_is_believed(tmp_path: Path) -> None:
    ours, context = certificate(tmp_path, "ours")
    other, _ = certificate(tmp_path, "other")

    async def answer(asked: Asked) -> Told:
        return Told(200, {"key": asked.headers["x-key"]})

    async with serve(answer, context) as server:
        for pinned in (ours, other, None):
            async with open_wallet_http(WalletServer(server.url, {"X-Key": Secret("k")}, tls_cert=pinned)) as http:
                if pinned == ours:
                    assert (await http.get("/")).json() == {"key": "k"}
                else:
                    with pytest.raises(HttpFailed, match="CERTIFICATE_VERIFY_FAILED"):
                        await http.get("/")
        # The key went to nobody else.
        assert len(server.asked) == 1


@pytest.mark.anyio
async def test_an_address_nobody_listens_at() -> None:
    async with open_wallet_http(WalletServer("http://127.0.0.1:9")) as http:
        with pytest.raises(HttpFailed, match="ConnectError"):
            await http.get("/")


@pytest.mark.anyio
async def test_a_secret_is_hidden_before_the_line_is_cut() -> None:
    """However often it is quoted, no part of it stands at the end."""
    secret = "s3cr3t" * 80

    async def answer(asked: Asked) -> Told:
        return Told(500, (asked.headers["x-key"] * 20).encode())

    async with serve(answer) as server, open_wallet_http(WalletServer(server.url, {"X-Key": Secret(secret)})) as http:
        told = await http.get("/")
        assert told.words == HIDDEN * 20
        assert "s3cr3t" not in str(http.failed(secret))
        assert "s3cr3t" not in repr(told.secrets)

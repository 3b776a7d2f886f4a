"""Fetching over TLS: who is trusted, and which failures are worth another try."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from imgsvc import errors
from imgsvc.adapters.outbound import FetchLimits, Outbound
from origin_server import OriginServer, picture
from outbound_doubles import Names, Rooms

MakeOutbound = Callable[..., Outbound]  # the fixture of conftest.py

QUICK = FetchLimits(connect_timeout=0.3)
NAMES = {"shop.test": [["127.0.0.1"]], "other.test": [["127.0.0.1"]]}


def certificate(folder: Path, name: str) -> Path:
    """A self-signed certificate for `name` with its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = folder / "certificate.pem"
    file.write_bytes(key.private_bytes(serialization.Encoding.PEM, *plain))
    with file.open("ab") as out:
        out.write(signed.public_bytes(serialization.Encoding.PEM))
    return file


@pytest.fixture
async def secure(tmp_path: Path) -> AsyncIterator[tuple[OriginServer, ssl.SSLContext]]:
    """An origin with a certificate for shop.test, and the context that trusts it."""
    file = certificate(tmp_path, "shop.test")
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(file)
    async with OriginServer(tls=serving) as origin:
        yield origin, ssl.create_default_context(cafile=file)


async def test_a_trusted_certificate_of_the_right_name_is_accepted(
    secure: tuple[OriginServer, ssl.SSLContext], make_outbound: MakeOutbound
) -> None:
    origin, trusting = secure
    origin.serve("/a.jpg", picture())
    outbound = make_outbound(resolver=Names(dict(NAMES)), tls=trusting)
    for _ in range(2):
        assert (await outbound.fetch(origin.url("/a.jpg", host="shop.test"), Rooms())).body == picture()
    assert origin.connections == 1


@pytest.mark.parametrize(("host", "trusted"), [("shop.test", False), ("other.test", True), ("127.0.0.1", True)])
async def test_an_unknown_authority_or_a_wrong_name_is_a_tls_error(
    host: str, trusted: bool, secure: tuple[OriginServer, ssl.SSLContext], make_outbound: MakeOutbound
) -> None:
    origin, trusting = secure
    outbound = make_outbound(resolver=Names(dict(NAMES)), tls=trusting if trusted else None)
    with pytest.raises(errors.TlsError):
        await outbound.fetch(origin.url("/a.jpg", host=host), Rooms())
    assert origin.requests == []


async def test_a_server_that_speaks_no_tls_is_a_tls_error(origin: OriginServer, make_outbound: MakeOutbound) -> None:
    with pytest.raises(errors.TlsError):
        await make_outbound().fetch(f"https://127.0.0.1:{origin.port}/", Rooms())


@pytest.mark.parametrize(("hangs_up", "error"), [(True, errors.ConnectError), (False, errors.ConnectTimeout)])
async def test_a_handshake_that_ends_or_stalls_is_worth_another_try(
    hangs_up: bool, error: type[errors.FetchError], make_outbound: MakeOutbound
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        if not hangs_up:
            await reader.read()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(error) as caught:
            await make_outbound(limits=QUICK).fetch(f"https://127.0.0.1:{port}/", Rooms())
    assert caught.value.retryable

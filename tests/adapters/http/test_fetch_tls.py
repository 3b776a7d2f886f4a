"""Fetching over TLS: trusted certificates, and which failures are retryable."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from imgsvc import errors
from imgsvc.adapters.http.egress import tls_context
from imgsvc.adapters.http.fetcher import Fetcher
from support.fetchers import FakeBudget, FakeResolver
from support.origin_server import OriginServer, image_bytes
from support.polling import LONG_TIMEOUTS

MakeFetcher = Callable[..., Fetcher]  # the fixture of conftest.py

NAMES = {"shop.test": [["127.0.0.1"]], "other.test": [["127.0.0.1"]]}


@dataclass(frozen=True)
class Authority:
    """A private certificate authority: clients trust `file`, and servers use the context of `serving`."""

    folder: Path

    def __post_init__(self) -> None:
        self.file.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    @property
    def file(self) -> Path:
        return self.folder / "authority.pem"

    @cached_property
    def _key(self) -> ec.EllipticCurvePrivateKey:
        return ec.generate_private_key(ec.SECP256R1())

    @cached_property
    def _certificate(self) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Shop authority")])
        builder = x509.CertificateBuilder(name, name, self._key.public_key(), x509.random_serial_number())
        return self._signed(builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True), days=1)

    def _signed(self, builder: x509.CertificateBuilder, *, days: int) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = builder.not_valid_before(now - timedelta(days=2)).not_valid_after(now + timedelta(days=days))
        return builder.sign(self._key, hashes.SHA256())

    def serving(self, name: str, *, days: int = 1) -> ssl.SSLContext:
        """Return the context of a server called `name`, with a certificate valid for `days` more days."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = self._certificate.subject
        builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        names = x509.SubjectAlternativeName([x509.DNSName(name)])
        certificate = self._signed(builder.add_extension(names, critical=False), days=days)
        unencrypted = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        file = self.folder / "server.pem"
        file.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, *unencrypted)
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def secure(authority: Authority) -> AsyncIterator[tuple[OriginServer, ssl.SSLContext]]:
    """An origin with a certificate for shop.test, and the context that trusts it."""
    async with OriginServer(tls=authority.serving("shop.test")) as origin:
        yield origin, ssl.create_default_context(cafile=authority.file)


async def test_a_trusted_certificate_of_the_right_name_is_accepted(
    secure: tuple[OriginServer, ssl.SSLContext], make_fetcher: MakeFetcher
) -> None:
    origin, trusting = secure
    origin.serve("/a.jpg", image_bytes())
    fetcher = make_fetcher(resolver=FakeResolver(dict(NAMES)), tls=trusting)
    for _ in range(2):
        assert (await fetcher.fetch(origin.url("/a.jpg", host="shop.test"), FakeBudget())).body == image_bytes()
    assert origin.connections == 1


@pytest.mark.parametrize(("host", "trusted"), [("shop.test", False), ("other.test", True), ("127.0.0.1", True)])
async def test_an_unknown_authority_or_a_wrong_name_is_a_tls_error(
    host: str, trusted: bool, secure: tuple[OriginServer, ssl.SSLContext], make_fetcher: MakeFetcher
) -> None:
    origin, trusting = secure
    fetcher = make_fetcher(resolver=FakeResolver(dict(NAMES)), tls=trusting if trusted else None)
    with pytest.raises(errors.TlsError):
        await fetcher.fetch(origin.url("/a.jpg", host=host), FakeBudget())
    assert origin.requests == []


async def test_a_certificate_that_has_expired_is_a_tls_error(authority: Authority, make_fetcher: MakeFetcher) -> None:
    trusting = ssl.create_default_context(cafile=authority.file)
    async with OriginServer(tls=authority.serving("shop.test", days=-1)) as origin:
        with pytest.raises(errors.TlsError):
            await make_fetcher(resolver=FakeResolver(dict(NAMES)), tls=trusting).fetch(
                origin.url("/a.jpg", host="shop.test"), FakeBudget()
            )
        assert origin.requests == []


@pytest.mark.parametrize("downgrade", [False, True])
async def test_a_redirect_from_https_to_http_is_followed_only_if_allowed(
    downgrade: bool, secure: tuple[OriginServer, ssl.SSLContext], origin: OriginServer, make_fetcher: MakeFetcher
) -> None:
    secure_origin, trusting = secure
    plain = origin.serve("/a.jpg", image_bytes())
    hop = secure_origin.serve("/hop", b"", status=302, headers={"Location": plain})
    start = origin.serve("/start", b"", status=302, headers={"Location": hop.replace("127.0.0.1", "shop.test")})
    fetcher = make_fetcher(resolver=FakeResolver(dict(NAMES)), tls=trusting, downgrade=downgrade)
    if downgrade:
        assert (await fetcher.fetch(start, FakeBudget())).body == image_bytes()
        return
    with pytest.raises(errors.TlsError, match="http"):
        await fetcher.fetch(start, FakeBudget())
    assert origin.hits("/a.jpg") == 0


async def test_an_authority_from_the_settings_is_trusted_like_the_public_ones(authority: Authority) -> None:
    default = ssl.create_default_context()
    both = tls_context(authority.file)
    assert both.cert_store_stats()["x509_ca"] == len(tls_context(None).get_ca_certs()) + 1
    assert both.verify_mode == default.verify_mode == ssl.CERT_REQUIRED
    assert both.check_hostname


def test_an_unreadable_authority_is_refused_with_a_message(tmp_path: Path) -> None:
    (tmp_path / "junk.pem").write_text("junk", encoding="ascii")
    for name in ("junk.pem", "none.pem"):
        with pytest.raises(errors.StartupError, match="IMGSVC_CA_FILE"):
            tls_context(tmp_path / name)


async def test_a_server_without_tls_is_a_tls_error(origin: OriginServer, make_fetcher: MakeFetcher) -> None:
    with pytest.raises(errors.TlsError):
        await make_fetcher().fetch(f"https://127.0.0.1:{origin.port}/", FakeBudget())


@pytest.mark.parametrize(
    ("hangs_up", "connect_timeout", "error"), [(True, 60.0, errors.ConnectError), (False, 0.3, errors.ConnectTimeout)]
)
async def test_a_handshake_that_ends_or_stalls_is_retryable(
    hangs_up: bool, connect_timeout: float, error: type[errors.FetchError], make_fetcher: MakeFetcher
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        if not hangs_up:
            await reader.read()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(error) as caught:
            await make_fetcher(limits=replace(LONG_TIMEOUTS, connect_timeout=connect_timeout)).fetch(
                f"https://127.0.0.1:{port}/", FakeBudget()
            )
    assert caught.value.retryable

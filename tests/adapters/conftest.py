"""Fixtures for the adapters' contract tests."""

import secrets
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from imgsvc.adapters.outbound import Outbound, Ways
from imgsvc.adapters.storage import ObjectStorage
from origin_server import OriginServer
from patience import PATIENT


@pytest.fixture
async def make_outbound() -> AsyncIterator[Callable[..., Outbound]]:
    """Makes one that calls only 127.0.0.1 unless told otherwise, and closes it at the end of the test.

    It trusts no authority either: reading the usual ones takes longer than most tests; `tls=None` does it.
    """
    async with AsyncExitStack() as stack:

        def make(*, allowed: tuple[str, ...] = ("127.0.0.1/32",), **options: Any) -> Outbound:
            nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            networks = [ip_network(network) for network in allowed]
            ways = Ways(
                networks, **{name: options.pop(name) for name in {"own_ports", "proxy", "downgrade"} & options.keys()}
            )
            defaults = {"limits": PATIENT, "user_agent": "imgsvc-test", "tls": nobody}
            outbound = Outbound(ways=ways, **{**defaults, **options})
            stack.push_async_callback(outbound.aclose)
            return outbound

        yield make


@pytest.fixture
async def origin() -> AsyncIterator[OriginServer]:
    async with OriginServer() as server:
        yield server


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """S3 as moto serves it on loopback."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty bucket, which the environment leads to as in production."""
    environment = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": s3_endpoint,
        "AWS_ALLOW_HTTP": "true",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    name = f"pictures-{secrets.token_hex(4)}"
    boto3.client("s3", region_name="us-east-1", endpoint_url=s3_endpoint).create_bucket(Bucket=name)
    return f"s3://{name}"


@pytest.fixture
def s3(bucket: str) -> ObjectStorage:
    return ObjectStorage(bucket)


@pytest.fixture
def folder(tmp_path: Path) -> ObjectStorage:
    return ObjectStorage((tmp_path / "with space").as_uri())


@pytest.fixture(params=["folder", "s3"])
def storage(request: pytest.FixtureRequest) -> ObjectStorage:
    """Whatever holds for one must hold for both."""
    chosen: ObjectStorage = request.getfixturevalue(request.param)
    return chosen

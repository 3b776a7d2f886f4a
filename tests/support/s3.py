"""S3 as served by moto on loopback."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import boto3
import pytest
from moto.server import ThreadedMotoServer

REGION = "us-east-1"
LOGIN = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


@contextmanager
def s3_server() -> Iterator[str]:
    """Yield the address of an S3 server."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def new_bucket(endpoint: str, environment: pytest.MonkeyPatch) -> str:
    """Create an empty bucket, point the environment to it as in production, and return its URL."""
    for name, value in {
        **LOGIN,
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ALLOW_HTTP": "true",
    }.items():
        environment.setenv(name, value)
    name = f"images-{secrets.token_hex(4)}"
    boto3.client("s3", region_name=REGION, endpoint_url=endpoint).create_bucket(Bucket=name)
    return f"s3://{name}"


def stored_headers(endpoint: str, bucket: str, key: str) -> dict[str, str]:
    """Return the headers with which the bucket serves an object."""
    client = boto3.client("s3", region_name=REGION, endpoint_url=endpoint)
    answer = client.head_object(Bucket=bucket.removeprefix("s3://"), Key=key)
    headers: dict[str, str] = answer["ResponseMetadata"]["HTTPHeaders"]
    return headers

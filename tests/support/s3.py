"""S3 as served by moto on loopback, and the check of a presigned link."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
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


def is_signed_for(link: str, method: str) -> bool:
    """Return whether S3 would accept the link with this method; moto accepts any.

    The signature is computed again from the link, see "Authenticating Requests: Using Query Parameters".
    """
    unsigned, _, signature = link.partition("&X-Amz-Signature=")
    request = AWSRequest(method=method, url=unsigned)
    request.context["timestamp"] = parse_qs(urlsplit(link).query)["X-Amz-Date"][0]
    auth = S3SigV4QueryAuth(Credentials("test", "test"), "s3", REGION)
    return bool(auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request) == signature)

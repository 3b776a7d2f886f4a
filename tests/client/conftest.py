"""Fixtures: a scripted server, and each of the two clients."""

from collections.abc import AsyncIterator

import pytest

from support.scripted import Caller, Scripted, either

RETRY_TIMEOUT = 60


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    async with Scripted() as server:
        yield server


@pytest.fixture(params=["blocking", "awaiting"])
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of client; every test that uses it runs with both."""
    return str(request.param)


@pytest.fixture
async def call(kind: str, server: Scripted) -> AsyncIterator[Caller]:
    async with either(kind, server.url("/"), retry_timeout=RETRY_TIMEOUT) as call:
        yield call


@pytest.fixture
async def call_once(kind: str, server: Scripted) -> AsyncIterator[Caller]:
    """A client that never retries."""
    async with either(kind, server.url("/"), retry_timeout=0) as call:
        yield call

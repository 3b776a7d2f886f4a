"""A scripted server, and each of the two clients in turn to call it."""

from collections.abc import AsyncIterator

import pytest

from support.scripted import Caller, Scripted, either

PATIENCE = 60


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    async with Scripted() as server:
        yield server


@pytest.fixture(params=["blocking", "awaiting"])
def kind(request: pytest.FixtureRequest) -> str:
    """Whatever is tested holds for both clients."""
    return str(request.param)


@pytest.fixture
async def call(kind: str, server: Scripted) -> AsyncIterator[Caller]:
    async with either(kind, server.url("/"), retry_timeout=PATIENCE) as call:
        yield call


@pytest.fixture
async def hasty(kind: str, server: Scripted) -> AsyncIterator[Caller]:
    """Gives up at once."""
    async with either(kind, server.url("/"), retry_timeout=0) as call:
        yield call

"""Running stacks: one shared by all tests that keep it alive, and one for each test that kills parts of it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest

from support.stack import QUICK, Stack, client_for, running_stack


@pytest.fixture(scope="package")
def shared_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with one worker, an embedded Valkey and quick recovery; it outlives the tests' event loops."""
    with asyncio.Runner() as runner:
        resources = AsyncExitStack()
        up = running_stack(tmp_path_factory.mktemp("up"), **QUICK)
        yield runner.run(resources.enter_async_context(up))
        runner.run(resources.aclose())


@pytest.fixture
async def stack(shared_stack: Stack) -> AsyncIterator[Stack]:
    """The shared stack with a client for this test."""
    async with client_for(str(shared_stack.client.base_url)) as client:
        yield Stack(shared_stack.process, client, shared_stack.folder)


@pytest.fixture
async def own_stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A separate stack that the test may kill."""
    async with running_stack(tmp_path_factory.mktemp("up"), **QUICK) as running:
        yield running

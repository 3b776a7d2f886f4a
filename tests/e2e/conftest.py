"""The stack, running."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stack import QUICK, Stack, running_stack


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    """One worker, an embedded Valkey, quick recovery."""
    async with running_stack(tmp_path, **QUICK) as running:
        yield running

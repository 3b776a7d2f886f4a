"""A short run of `make chaos` on each database, with the faults of one seed."""

import pytest

from chaos.driver import run
from chaos.stage import Database

pytestmark = pytest.mark.slow

SEED = "short"


@pytest.mark.timeout(600)  # usually 40 s; 75 s more if a killed worker's assets wait for the end of their lease
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
async def test_nothing_is_lost_whatever_dies(database: Database) -> None:
    output: list[str] = []
    result = await run(database, SEED, seconds=15, longest=2, say=output.append)
    assert result.violations == [], "\n".join([*output, result.kept_in])
    assert sum(result.faults.values()) >= 10
    assert result.images > 0

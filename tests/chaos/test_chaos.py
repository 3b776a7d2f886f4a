"""A short run of `make chaos` on each database: the faults of one seed."""

import pytest

from chaos.driver import run
from chaos.stage import Database

pytestmark = pytest.mark.slow

SEED = "short"


@pytest.mark.timeout(600)  # mostly 40 s; 75 s more where a killed worker's assets wait for the end of their lease
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
async def test_nothing_is_lost_whatever_dies(database: Database) -> None:
    said: list[str] = []
    result = await run(database, SEED, seconds=15, longest=2, say=said.append)
    assert result.violations == [], "\n".join([*said, result.kept_in])
    assert sum(result.faults.values()) >= 10
    assert result.images > 0

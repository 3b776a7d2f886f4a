"""A short run of `make chaos`: the faults of one seed, on SQLite."""

from chaos.driver import run

SEED = "short"


async def test_nothing_is_lost_whatever_dies() -> None:
    said: list[str] = []
    result = await run("sqlite", SEED, seconds=15, longest=2, say=said.append)
    assert result.violations == [], "\n".join([*said, result.kept_in])
    assert sum(result.faults.values()) >= 10
    assert result.pictures > 0

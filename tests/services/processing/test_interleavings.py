"""Every order of six moves by two runs, the clock and a client at one batch of two assets."""

import shutil
from collections.abc import Awaitable, Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Row
from sqlmodel import SQLModel

from states.play import Play
from states.runs import Run

pytestmark = pytest.mark.slow

MOVES: dict[str, Callable[[Play, str], Awaitable[None]]] = {
    "A claims one": lambda play, batch: play.flush(batch, "A", claim=1),
    "B claims one": lambda play, batch: play.flush(batch, "B", claim=1),
    "A has succeeded": lambda play, batch: play.flush(batch, "A", ["succeed a"] * 2),
    "B has failed": lambda play, batch: play.flush(batch, "B", ["fail http_404"] * 2),
    "leases end": lambda play, _: play.wait(60),
    "cancel": lambda play, batch: play.cancel(batch),
    "retry": lambda play, batch: play.retry(batch),
    "delete": lambda play, batch: play.delete(batch),
    "sweep": lambda play, _: play.sweep(),
}
MOVES_IN_A_ROW = 6
TABLES = [table.name for table in SQLModel.metadata.sorted_tables if table.name != "api_key"]
ATTRIBUTES = ("clock", "reader", "model", "runs", "events")


@dataclass
class Saved:
    """A saved state: the rows of every table, and the attributes of the play."""

    rows: dict[str, list[Row[Any]]]
    attributes: dict[str, Any]


def save(play: Play) -> Saved:
    with play.engine.connect() as connection:
        rows = {name: list(connection.exec_driver_sql(f"SELECT * FROM {name}")) for name in TABLES}
    return Saved(rows, deepcopy({name: getattr(play, name) for name in ATTRIBUTES}) | {"seen": play.seen})


def restore(play: Play, saved: Saved) -> None:
    with play.engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA synchronous = OFF")
        for name in reversed(TABLES):
            connection.exec_driver_sql(f"DELETE FROM {name}")
        for name, rows in saved.rows.items():
            if rows:
                placeholders = ", ".join("?" * len(rows[0]))
                connection.exec_driver_sql(f"INSERT INTO {name} VALUES ({placeholders})", [tuple(row) for row in rows])
    vars(play).update(deepcopy(saved.attributes))


def fingerprint(play: Play, name: str) -> object:
    """Return what all further moves depend on; a state reached in two ways is explored once."""
    batch = play.model.batches.get(name)
    if batch is None or batch.deleted:
        return "deleted", tuple(sorted(play.runs))
    now = play.clock()
    tokens = {run.token: who for (_, who), run in play.runs.items()}
    assets = [(asset.status, tokens.get(asset.claim or ""), asset.open and asset.due <= now) for asset in batch.assets]

    def belief(run: Run) -> object:
        return run.round == batch.round, tuple(run.held)

    return batch.status, tuple(assets), tuple((who, belief(run)) for (_, who), run in sorted(play.runs.items()))


@pytest.mark.timeout(600)
async def test_every_order_of_six_moves_agrees_with_the_model(migrated_database: Path, tmp_path: Path) -> None:
    play = Play(Path(shutil.copy(migrated_database, tmp_path)))
    batch = await play.submit(2, 0, hooked=True)
    await play.compare()
    level, explored = [save(play)], {fingerprint(play, batch)}
    for _ in range(MOVES_IN_A_ROW):
        previous, level = level, []
        for saved in previous:
            for move in MOVES.values():
                restore(play, saved)
                await move(play, batch)
                await play.compare()
                if fingerprint(play, batch) not in explored:
                    explored.add(fingerprint(play, batch))
                    level.append(save(play))
    await play.aclose()
    assert len(explored) > 200

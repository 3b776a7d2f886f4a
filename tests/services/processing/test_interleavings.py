"""Every order in which two runs, the clock and a client can come by at one batch of two assets, six moves long."""

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
LONGEST = 6
TABLES = [table.name for table in SQLModel.metadata.sorted_tables if table.name != "api_key"]
KNOWN = ("clock", "reader", "model", "runs", "events")


@dataclass
class Saved:
    """A moment to come back to: the rows of every table, and what the play knows beside them."""

    rows: dict[str, list[Row[Any]]]
    known: dict[str, Any]


def save(play: Play) -> Saved:
    with play.engine.connect() as connection:
        rows = {name: list(connection.exec_driver_sql(f"SELECT * FROM {name}")) for name in TABLES}
    return Saved(rows, deepcopy({name: getattr(play, name) for name in KNOWN}) | {"seen": play.seen})


def restore(play: Play, saved: Saved) -> None:
    with play.engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA synchronous = OFF")
        for name in reversed(TABLES):
            connection.exec_driver_sql(f"DELETE FROM {name}")
        for name, rows in saved.rows.items():
            if rows:
                places = ", ".join("?" * len(rows[0]))
                connection.exec_driver_sql(f"INSERT INTO {name} VALUES ({places})", [tuple(row) for row in rows])
    vars(play).update(deepcopy(saved.known))


def mark(play: Play, name: str) -> object:
    """What the future depends on; two ways to the same are walked on from once."""
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
async def test_every_order_of_six_moves_ends_as_the_model_says(migrated_database: Path, tmp_path: Path) -> None:
    play = Play(Path(shutil.copy(migrated_database, tmp_path)))
    batch = await play.submit(2, 0, hooked=True)
    await play.compare()
    level, known = [save(play)], {mark(play, batch)}
    for _ in range(LONGEST):
        here, level = level, []
        for moment in here:
            for move in MOVES.values():
                restore(play, moment)
                await move(play, batch)
                await play.compare()
                if mark(play, batch) not in known:
                    known.add(mark(play, batch))
                    level.append(save(play))
    await play.aclose()
    assert len(known) > 200  # they were really walked

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

from states.runs import Run
from states.simulation import Simulation

pytestmark = pytest.mark.slow

MOVES: dict[str, Callable[[Simulation, str], Awaitable[None]]] = {
    "A claims one": lambda simulation, batch: simulation.flush(batch, "A", claim=1),
    "B claims one": lambda simulation, batch: simulation.flush(batch, "B", claim=1),
    "A has succeeded": lambda simulation, batch: simulation.flush(batch, "A", ["succeed a"] * 2),
    "B has failed": lambda simulation, batch: simulation.flush(batch, "B", ["fail http_404"] * 2),
    "leases end": lambda simulation, _: simulation.wait(60),
    "cancel": lambda simulation, batch: simulation.cancel(batch),
    "retry": lambda simulation, batch: simulation.retry(batch),
    "delete": lambda simulation, batch: simulation.delete(batch),
    "sweep": lambda simulation, _: simulation.sweep(),
}
MOVES_IN_A_ROW = 6
TABLES = [table.name for table in SQLModel.metadata.sorted_tables if table.name != "api_key"]
ATTRIBUTES = ("clock", "inventory", "model", "runs", "events")


@dataclass
class Saved:
    """A saved state: the rows of every table, and the attributes of the simulation."""

    rows: dict[str, list[Row[Any]]]
    attributes: dict[str, Any]


def save(simulation: Simulation) -> Saved:
    with simulation.engine.connect() as connection:
        rows = {name: list(connection.exec_driver_sql(f"SELECT * FROM {name}")) for name in TABLES}
    return Saved(rows, deepcopy({name: getattr(simulation, name) for name in ATTRIBUTES}) | {"seen": simulation.seen})


def restore(simulation: Simulation, saved: Saved) -> None:
    with simulation.engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA synchronous = OFF")
        for name in reversed(TABLES):
            connection.exec_driver_sql(f"DELETE FROM {name}")
        for name, rows in saved.rows.items():
            if rows:
                placeholders = ", ".join("?" * len(rows[0]))
                connection.exec_driver_sql(f"INSERT INTO {name} VALUES ({placeholders})", [tuple(row) for row in rows])
    vars(simulation).update(deepcopy(saved.attributes))


def fingerprint(simulation: Simulation, name: str) -> object:
    """Return what all further moves depend on; a state reached in two ways is explored once."""
    batch = simulation.model.batches.get(name)
    if batch is None or batch.deleted:
        return "deleted", tuple(sorted(simulation.runs))
    now = simulation.clock()
    tokens = {run.token: who for (_, who), run in simulation.runs.items()}
    assets = [(asset.status, tokens.get(asset.claim or ""), asset.open and asset.due <= now) for asset in batch.assets]

    def belief(run: Run) -> object:
        return run.round == batch.round, tuple(run.held)

    return batch.status, tuple(assets), tuple((who, belief(run)) for (_, who), run in sorted(simulation.runs.items()))


@pytest.mark.timeout(600)
async def test_every_order_of_six_moves_agrees_with_the_model(migrated_database: Path, tmp_path: Path) -> None:
    simulation = Simulation(Path(shutil.copy(migrated_database, tmp_path)))
    batch = await simulation.submit(2, 0, has_webhook=True)
    await simulation.compare()
    level, explored = [save(simulation)], {fingerprint(simulation, batch)}
    for _ in range(MOVES_IN_A_ROW):
        previous, level = level, []
        for saved in previous:
            for move in MOVES.values():
                restore(simulation, saved)
                await move(simulation, batch)
                await simulation.compare()
                if fingerprint(simulation, batch) not in explored:
                    explored.add(fingerprint(simulation, batch))
                    level.append(save(simulation))
    await simulation.aclose()
    assert len(explored) > 200

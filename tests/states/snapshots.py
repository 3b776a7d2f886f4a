"""Snapshots of batches in the database: what holds in each, and what may change from one to the next."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlmodel import SQLModel

from imgsvc.domain.status import (
    ASSET_MOVES,
    BATCH_MOVES,
    DELIVERY_MOVES,
    OPEN_ASSET,
    OPEN_BATCH,
    AssetStatus,
    BatchStatus,
    DeliveryStatus,
    Moves,
)
from states.entities import Rows

VERSIONED = ("status", "round", "processing", "succeeded", "failed", "cancelled", "deleted_at")
"""Columns whose changes clients learn of by the batch's version."""


@dataclass
class Snapshot:
    """The rows of one batch; assets by position, deliveries by round, the numbers of attempts by delivery id."""

    batch: Rows
    assets: dict[int, Rows] = field(default_factory=dict)
    deliveries: dict[int, Rows] = field(default_factory=dict)
    attempts: dict[str, list[int]] = field(default_factory=dict)
    products: int = 0

    def rows(self) -> Rows:
        """Return the rows in the format of `states.model.Batch.rows`."""
        batch = self.batch
        if batch["deleted_at"] and not (self.products or self.assets or self.deliveries):
            return {"clean_up": batch["tidy_at"], "deleted": batch["deleted_at"]}
        same = ("status", "round", "processing", "succeeded", "failed", "cancelled", "errors")
        return {
            **{name: batch[name] for name in same},
            "total": batch["asset_count"],
            "bytes": (batch["input_bytes"], batch["output_bytes"]),
            "dates": tuple(batch[f"{name}_at"] for name in ("finished", "expires", "tidy", "deleted")),
            "assets": [_asset(self.assets[at]) for at in sorted(self.assets)],
            "deliveries": {number: _delivery(row) for number, row in self.deliveries.items()},
        }


def _asset(row: Rows) -> Rows:
    [rendition] = row["renditions"] or [None]
    return {
        **{name: row[name] for name in ("status", "claim", "attempts", "lost")},
        "due": row["due_at"] if row["status"] in OPEN_ASSET else None,
        "code": row["error_code"],
        "key": rendition["key"] if rendition else None,
    }


def _delivery(row: Rows) -> Rows:
    due = row["due_at"] if row["status"] == DeliveryStatus.PENDING else None
    return {"status": row["status"], "attempts": row["attempts"], "since": row["schedule_from"], "due": due}


def read_snapshots(engine: sa.Engine) -> dict[str, Snapshot]:
    """Return a snapshot of every batch that has a row."""
    with engine.connect() as connection:

        def every(table: str) -> list[Rows]:
            return [dict(row) for row in connection.execute(sa.select(SQLModel.metadata.tables[table])).mappings()]

        snapshots = {row["id"]: Snapshot(row) for row in every("batch")}
        for row in every("asset"):
            snapshots[row["batch_id"]].assets[row["position"]] = row
        for row in every("product"):
            snapshots[row["batch_id"]].products += 1
        owners = {}
        for row in every("delivery"):
            owners[row["id"]] = snapshots[row["batch_id"]]
            owners[row["id"]].deliveries[row["round"]] = row
        for row in every("delivery_attempt"):
            owners[row["delivery_id"]].attempts.setdefault(row["delivery_id"], []).append(row["number"])
    return snapshots


# -- invariants of a snapshot -----------------------------------------------------------------------------------------


def check_consistent(snapshot: Snapshot) -> None:
    """Check that the counters match the rows, and that each ended round was announced once."""
    batch, statuses = snapshot.batch, [asset["status"] for asset in snapshot.assets.values()]
    if batch["deleted_at"]:
        return
    assert (batch["asset_count"], batch["product_count"]) == (len(snapshot.assets), snapshot.products)
    for status in (AssetStatus.PROCESSING, AssetStatus.SUCCEEDED, AssetStatus.FAILED, AssetStatus.CANCELLED):
        assert batch[status] == statuses.count(status)
    is_open = batch["change"] is not None or any(status in OPEN_ASSET for status in statuses)
    assert (batch["status"] in OPEN_BATCH) == is_open
    ended = range(1, batch["round"] + (batch["status"] not in OPEN_BATCH))
    assert sorted(snapshot.deliveries) == (list(ended) if batch["webhook_url"] else [])
    for delivery in snapshot.deliveries.values():
        assert sorted(snapshot.attempts.get(delivery["id"], [])) == list(range(1, delivery["attempts"] + 1))


# -- moves between two snapshots --------------------------------------------------------------------------------------


def check_moves(before: Snapshot, after: Snapshot) -> None:
    """Check that statuses moved as the tables allow, successes stayed, and the version shows every change."""
    check_move(BATCH_MOVES, BatchStatus, before.batch, after.batch)
    for at, asset in after.assets.items():
        check_move(ASSET_MOVES, AssetStatus, before.assets[at], asset)
        if before.assets[at]["status"] == AssetStatus.SUCCEEDED:
            assert asset == before.assets[at]
    for number, delivery in before.deliveries.items():
        if now := after.deliveries.get(number):
            check_move(DELIVERY_MOVES, DeliveryStatus, delivery, now)
            assert (now["id"], now["body"]) == (delivery["id"], delivery["body"])
    if any(before.batch[name] != after.batch[name] for name in VERSIONED):
        assert after.batch["version"] > before.batch["version"]
    assert after.batch["deleted_at"] or len(after.assets) == len(before.assets)


def check_move(moves: Moves[Any], statuses: type[StrEnum], before: Rows, after: Rows) -> None:
    source, target = statuses(before["status"]), statuses(after["status"])
    assert source == target or source in moves[target], f"{source} became {target}"

"""The outcomes of a run of an asset, and the columns that each writes."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from imgsvc.db.queries.leases import Claimed
from imgsvc.db.queries.outcomes import OUTCOME_COLUMNS
from imgsvc.domain.status import AssetStatus, Suspicion
from imgsvc.errors import AssetError


@dataclass(frozen=True, slots=True)
class Succeeded:
    """Every rendition is stored. `renditions` go to the asset's JSON column, one per spec, in the specs' order."""

    asset: Claimed
    attempts: int
    input_format: str
    width: int
    height: int
    input_bytes: int
    renditions: tuple[dict[str, Any], ...]
    etag: str | None
    last_modified: str | None
    final_url_hash: str
    reuse_hash: str

    @property
    def output_bytes(self) -> int:
        return sum(rendition["bytes"] for rendition in self.renditions)


@dataclass(frozen=True, slots=True)
class Failed:
    """The last attempt ended with `error`."""

    asset: Claimed
    attempts: int
    error: AssetError


@dataclass(frozen=True, slots=True)
class Postponed:
    """The asset goes back to pending until `due_at`; `attempts` is unchanged if none counted.

    As in every outcome, `asset` has the failures of storage and sandbox so far, and its suspicion.
    """

    asset: Claimed
    attempts: int
    due_at: datetime

    @property
    def overran(self) -> bool:
        """True when the image took too long for a thread; then all images of its batch are suspects in this round."""
        return self.asset.suspicion == Suspicion.OVERRAN


Outcome = Succeeded | Failed | Postponed

_EMPTY: dict[str, Any] = dict.fromkeys(OUTCOME_COLUMNS)


def columns(outcome: Outcome, now: datetime) -> dict[str, Any]:
    """Return the position of the asset, and every column of `OUTCOME_COLUMNS`."""
    row = {
        **_EMPTY,
        "position": outcome.asset.position,
        "attempts": outcome.attempts,
        "lost": outcome.asset.lost,
        "suspicion": outcome.asset.suspicion,
        "storage_failures": outcome.asset.storage_failures,
        "quarantine_failures": outcome.asset.quarantine_failures,
        "due_at": now,
        "updated_at": now,
    }
    match outcome:
        case Postponed(due_at=due_at):
            return row | {"status": AssetStatus.PENDING, "due_at": due_at}
        case Failed(error=error):
            return row | {
                "status": AssetStatus.FAILED,
                "error_code": error.code,
                "error_detail": error.detail,
                "http_status": getattr(error, "http_status", None),
            }
        case Succeeded():
            has_validator = bool(outcome.etag or outcome.last_modified)
            return row | {
                "status": AssetStatus.SUCCEEDED,
                "input_format": outcome.input_format,
                "width": outcome.width,
                "height": outcome.height,
                "input_bytes": outcome.input_bytes,
                "renditions": list(outcome.renditions),
                "etag": outcome.etag,
                "last_modified": outcome.last_modified,
                "final_url_hash": outcome.final_url_hash if has_validator else None,
                "reuse_hash": outcome.reuse_hash,
            }

"""The figures of a batch as every reader sees them: status answers, events, webhooks, the command line."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from imgsvc.db.queries.batches import BatchProgress
from imgsvc.db.tables import Batch


def counts(batch: Batch | BatchProgress) -> dict[str, Any]:
    """Products, URLs and assets by status; the asset counts sum to their total at every read."""
    ended = batch.succeeded + batch.failed + batch.cancelled
    return {
        "products": batch.product_count,
        "urls": batch.url_count,
        "assets": {
            "total": batch.asset_count,
            "pending": batch.asset_count - ended - batch.processing,
            "processing": batch.processing,
            "succeeded": batch.succeeded,
            "failed": batch.failed,
            "cancelled": batch.cancelled,
        },
    }


def progress(batch: Batch | BatchProgress) -> float:
    """The share of assets that have ended, from 0 to 1."""
    ended = batch.succeeded + batch.failed + batch.cancelled
    return round(ended / batch.asset_count, 3)


def time_left(batch: Batch, now: datetime) -> float | None:
    """Seconds until an open batch will have ended, at the rate so far; None before its first asset has.

    None in later rounds too: what had ended before is not told apart from what has since.
    """
    ended = batch.succeeded + batch.failed + batch.cancelled
    if batch.started_at is None or not ended or batch.round > 1:
        return None
    return (now - batch.started_at).total_seconds() * (batch.asset_count - ended) / ended


def transfer(batch: Batch | BatchProgress) -> dict[str, Any]:
    """Bytes in and out of the assets that succeeded, and the share saved (None before the first)."""
    saved = round(1 - batch.output_bytes / batch.input_bytes, 3) if batch.input_bytes else None
    return {"input": batch.input_bytes, "output": batch.output_bytes, "saved_ratio": saved}


def event_data(batch: Batch, reports: Mapping[str, str]) -> dict[str, Any]:
    """What a webhook tells of a finished batch, with links to its `reports`; well under 20 kB."""
    return {
        "id": batch.id,
        "status": str(batch.status),
        "counts": counts(batch),
        "bytes": transfer(batch),
        "errors_by_code": batch.errors,
        **reports,
        "metadata": batch.extra,
    }

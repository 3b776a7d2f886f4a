"""The progress of a batch as status responses, events, webhooks and the command line report it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from imgsvc.db.queries.batches import BatchProgress
from imgsvc.db.tables import Batch


def counts(batch: Batch | BatchProgress) -> dict[str, Any]:
    """Return the counts of products, URLs, and assets by status; the asset counts always add up to their total."""
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
    """Return the share of assets that have ended, from 0 to 1."""
    ended = batch.succeeded + batch.failed + batch.cancelled
    return round(ended / batch.asset_count, 3)


def time_left(batch: Batch, now: datetime) -> float | None:
    """Estimate the seconds until an open batch ends, at the rate so far; None before its first asset has ended.

    Also None in later rounds: the counters do not separate the assets that had ended before.
    """
    ended = batch.succeeded + batch.failed + batch.cancelled
    if batch.started_at is None or not ended or batch.round > 1:
        return None
    return (now - batch.started_at).total_seconds() * (batch.asset_count - ended) / ended


def transfer(batch: Batch | BatchProgress) -> dict[str, Any]:
    """Return input and output bytes of the succeeded assets, and the share saved (None before the first)."""
    saved = round(1 - batch.output_bytes / batch.input_bytes, 3) if batch.input_bytes else None
    return {"input": batch.input_bytes, "output": batch.output_bytes, "saved_ratio": saved}


def event_data(batch: Batch, reports: Mapping[str, str]) -> dict[str, Any]:
    """Return the data of the webhook for a finished batch, with the links in `reports`; well under 20 kB."""
    versions = {"catalogue": batch.catalogue, "changes": batch.changes} if batch.catalogue else {}
    return {
        "id": batch.id,
        "status": str(batch.status),
        "counts": counts(batch),
        "bytes": transfer(batch),
        "errors_by_code": batch.errors,
        **versions,
        **reports,
        "metadata": batch.extra,
    }

"""The statuses of batches, assets and deliveries, and the moves allowed between them."""

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar


class BatchStatus(StrEnum):
    """The status of a batch.

    `pending`: nothing has begun. `processing`: images are being fetched. `completed`: every image succeeded.
    `completed_with_errors`: some failed. `failed`: none succeeded. `cancelled`: cancelled before all images were done.
    """

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    COMPLETED_WITH_ERRORS = "completed_with_errors"
    FAILED = "failed"
    CANCELLED = "cancelled"


class AssetStatus(StrEnum):
    """The status of an asset.

    `pending`: waiting for its first or another attempt. `processing`: claimed by a worker. `succeeded`: its
    renditions are stored. `failed`: the error code is the reason. `cancelled`: cancelled with its batch.
    """

    PENDING = "pending"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class DeliveryStatus(StrEnum):
    """The status of a delivery.

    `pending`: an attempt is due or scheduled. `delivered`: answered with a 2xx. `exhausted`: no more attempts.
    """

    PENDING = "pending"
    DELIVERED = "delivered"
    EXHAUSTED = "exhausted"


class Suspicion(StrEnum):
    """The reason an image is compressed in the sandbox although no run is known to have crashed with it.

    `abandoned`: its run handed it back while it was being compressed. `overran`: it took more CPU time than allowed.
    """

    ABANDONED = "abandoned"
    OVERRAN = "overran"


OPEN_BATCH = (BatchStatus.PENDING, BatchStatus.PROCESSING)
FINISHED_BATCH = (BatchStatus.COMPLETED, BatchStatus.COMPLETED_WITH_ERRORS, BatchStatus.FAILED, BatchStatus.CANCELLED)
OPEN_ASSET = (AssetStatus.PENDING, AssetStatus.PROCESSING)

S = TypeVar("S", bound=StrEnum)
Moves = Mapping[S, tuple[S, ...]]

# target → the statuses it may be reached from. A batch skips processing when it has nothing to fetch, or when it is
# cancelled before its first asset is claimed.
BATCH_MOVES: Moves[BatchStatus] = {
    BatchStatus.PENDING: (BatchStatus.COMPLETED_WITH_ERRORS, BatchStatus.FAILED),
    BatchStatus.PROCESSING: (BatchStatus.PENDING,),
    BatchStatus.COMPLETED: OPEN_BATCH,
    BatchStatus.COMPLETED_WITH_ERRORS: OPEN_BATCH,
    BatchStatus.FAILED: OPEN_BATCH,
    BatchStatus.CANCELLED: OPEN_BATCH,
}

# pending is reached from processing when a run hands an asset back, and from failed when the batch is retried;
# processing is reached from processing when a run claims an asset whose lease has expired.
ASSET_MOVES: Moves[AssetStatus] = {
    AssetStatus.PENDING: (AssetStatus.PROCESSING, AssetStatus.FAILED),
    AssetStatus.PROCESSING: OPEN_ASSET,
    AssetStatus.SUCCEEDED: (AssetStatus.PROCESSING,),
    AssetStatus.FAILED: (AssetStatus.PROCESSING,),
    AssetStatus.CANCELLED: OPEN_ASSET,
}

# pending → pending: a failed attempt is rescheduled. delivered, exhausted → pending: a redelivery.
DELIVERY_MOVES: Moves[DeliveryStatus] = {
    DeliveryStatus.PENDING: tuple(DeliveryStatus),
    DeliveryStatus.DELIVERED: (DeliveryStatus.PENDING,),
    DeliveryStatus.EXHAUSTED: (DeliveryStatus.PENDING,),
}


def final_status(*, succeeded: int, failed: int, cancelled: int = 0) -> BatchStatus:
    """Return the status of a batch whose assets have all ended."""
    if cancelled:
        return BatchStatus.CANCELLED
    if failed == 0:
        return BatchStatus.COMPLETED
    return BatchStatus.COMPLETED_WITH_ERRORS if succeeded else BatchStatus.FAILED

"""The states of batches, assets and deliveries, and the moves allowed between them."""

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar


class BatchStatus(StrEnum):
    """`pending`: nothing has begun. `processing`: images are being fetched. `completed`: every image succeeded.
    `completed_with_errors`: some failed. `failed`: none succeeded. `cancelled`: given up before its end.
    """

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    COMPLETED_WITH_ERRORS = "completed_with_errors"
    FAILED = "failed"
    CANCELLED = "cancelled"


class AssetStatus(StrEnum):
    """`pending`: waits for its turn, or for another attempt. `processing`: a worker has it. `succeeded`, `failed` (the
    error says why), `cancelled` with its batch.
    """

    PENDING = "pending"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class DeliveryStatus(StrEnum):
    """`pending`: it will be posted, perhaps again. `delivered`: answered with a 2xx. `exhausted`: given up."""

    PENDING = "pending"
    DELIVERED = "delivered"
    EXHAUSTED = "exhausted"


class Suspicion(StrEnum):
    """Why an image is compressed in quarantine although no run is known to have died with it. `abandoned`: it was being
    compressed when its run had to hand it back. `overran`: it took more of the processor than an image may.
    """

    ABANDONED = "abandoned"
    OVERRAN = "overran"


OPEN_BATCH = (BatchStatus.PENDING, BatchStatus.PROCESSING)
FINISHED_BATCH = (BatchStatus.COMPLETED, BatchStatus.COMPLETED_WITH_ERRORS, BatchStatus.FAILED, BatchStatus.CANCELLED)
OPEN_ASSET = (AssetStatus.PENDING, AssetStatus.PROCESSING)

S = TypeVar("S", bound=StrEnum)
Moves = Mapping[S, tuple[S, ...]]

# target → where it may be reached from. pending → completed… happens without a stop at processing when a batch has
# nothing to fetch, or when one flush both claims and ends the last asset's lane.
BATCH_MOVES: Moves[BatchStatus] = {
    BatchStatus.PENDING: (BatchStatus.COMPLETED_WITH_ERRORS, BatchStatus.FAILED),
    BatchStatus.PROCESSING: (BatchStatus.PENDING,),
    BatchStatus.COMPLETED: OPEN_BATCH,
    BatchStatus.COMPLETED_WITH_ERRORS: OPEN_BATCH,
    BatchStatus.FAILED: OPEN_BATCH,
    BatchStatus.CANCELLED: OPEN_BATCH,
}

# pending is reached from processing by handing back, and from failed by a retry of the batch; processing is reached
# from processing when the lease of a dead worker is taken over.
ASSET_MOVES: Moves[AssetStatus] = {
    AssetStatus.PENDING: (AssetStatus.PROCESSING, AssetStatus.FAILED),
    AssetStatus.PROCESSING: OPEN_ASSET,
    AssetStatus.SUCCEEDED: (AssetStatus.PROCESSING,),
    AssetStatus.FAILED: (AssetStatus.PROCESSING,),
    AssetStatus.CANCELLED: OPEN_ASSET,
}

# pending → pending: a failed attempt is scheduled again; from delivered and exhausted by a redelivery.
DELIVERY_MOVES: Moves[DeliveryStatus] = {
    DeliveryStatus.PENDING: tuple(DeliveryStatus),
    DeliveryStatus.DELIVERED: (DeliveryStatus.PENDING,),
    DeliveryStatus.EXHAUSTED: (DeliveryStatus.PENDING,),
}


def final_status(*, succeeded: int, failed: int, cancelled: int = 0) -> BatchStatus:
    """The status of a batch whose assets have all ended."""
    if cancelled:
        return BatchStatus.CANCELLED
    if failed == 0:
        return BatchStatus.COMPLETED
    return BatchStatus.COMPLETED_WITH_ERRORS if succeeded else BatchStatus.FAILED

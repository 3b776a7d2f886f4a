"""The statuses and the moves between them."""

from enum import StrEnum

import pytest

from imgsvc.domain.status import (
    ASSET_MOVES,
    BATCH_MOVES,
    DELIVERY_MOVES,
    FINISHED_BATCH,
    OPEN_ASSET,
    OPEN_BATCH,
    AssetStatus,
    BatchStatus,
    DeliveryStatus,
    Moves,
    final_status,
)


@pytest.mark.parametrize(
    ("succeeded", "failed", "status"),
    [
        (3, 0, BatchStatus.COMPLETED),
        (2, 1, BatchStatus.COMPLETED_WITH_ERRORS),
        (1, 99, BatchStatus.COMPLETED_WITH_ERRORS),
        (0, 3, BatchStatus.FAILED),
    ],
)
def test_the_final_status_depends_on_whether_all_some_or_none_succeeded(
    succeeded: int, failed: int, status: BatchStatus
) -> None:
    assert final_status(succeeded=succeeded, failed=failed) is status


@pytest.mark.parametrize(
    ("moves", "statuses"),
    [(BATCH_MOVES, BatchStatus), (ASSET_MOVES, AssetStatus), (DELIVERY_MOVES, DeliveryStatus)],
    ids=["batch", "asset", "delivery"],
)
def test_every_status_can_be_reached_from_another(moves: Moves[StrEnum], statuses: type[StrEnum]) -> None:
    assert set(moves) == set(statuses)
    assert all(moves.values())


def test_a_batch_is_either_open_or_finished() -> None:
    assert {*OPEN_BATCH, *FINISHED_BATCH} == set(BatchStatus)
    assert not set(OPEN_BATCH) & set(FINISHED_BATCH)


def test_a_finished_batch_moves_only_by_a_retry_and_only_when_something_failed() -> None:
    out_of_finished = {
        (source, target) for target, sources in BATCH_MOVES.items() for source in sources if source in FINISHED_BATCH
    }
    assert out_of_finished == {
        (BatchStatus.COMPLETED_WITH_ERRORS, BatchStatus.PENDING),
        (BatchStatus.FAILED, BatchStatus.PENDING),
    }


def test_a_batch_starts_processing_once() -> None:
    assert BATCH_MOVES[BatchStatus.PROCESSING] == (BatchStatus.PENDING,)


def test_an_ended_asset_moves_only_when_it_failed_and_is_retried() -> None:
    out_of_ended = {
        (source, target) for target, sources in ASSET_MOVES.items() for source in sources if source not in OPEN_ASSET
    }
    assert out_of_ended == {(AssetStatus.FAILED, AssetStatus.PENDING)}


@pytest.mark.parametrize("ended", [AssetStatus.SUCCEEDED, AssetStatus.FAILED])
def test_only_a_processing_asset_succeeds_or_fails(ended: AssetStatus) -> None:
    assert ASSET_MOVES[ended] == (AssetStatus.PROCESSING,)


def test_a_delivery_that_ended_moves_only_by_a_redelivery() -> None:
    ended = {DeliveryStatus.DELIVERED, DeliveryStatus.EXHAUSTED}
    assert {target for target, sources in DELIVERY_MOVES.items() if ended & set(sources)} == {DeliveryStatus.PENDING}

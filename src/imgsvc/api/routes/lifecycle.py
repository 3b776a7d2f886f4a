"""How batches end before their time, begin again, and go: cancel, retry, delete."""

from typing import Annotated

from fastapi import APIRouter, Body, Response
from pydantic import BaseModel, ConfigDict, Field

from imgsvc.api.dependencies import BatchId, Caller, Open
from imgsvc.api.openapi.examples import CANCELLED, RETRIED, example
from imgsvc.api.problems.documented import documented, refused_parameter, refused_state
from imgsvc.api.schemas.batches import BatchOut, batch_out
from imgsvc.bootstrap import Resources
from imgsvc.services.batches.cancel import cancel_batch
from imgsvc.services.batches.delete import delete_batch
from imgsvc.services.batches.read import read_batch
from imgsvc.services.batches.retry import retry_batch
from imgsvc.services.intake.quotas import check_quota

router = APIRouter(prefix="/v1/batches", tags=["Changes"])

_Code = Annotated[str, Field(pattern="^[a-z0-9_]{1,40}$")]


class RetryWish(BaseModel):
    """Which failures to retry."""

    model_config = ConfigDict(extra="forbid")

    codes: list[_Code] = Field(
        default_factory=list,
        max_length=100,
        description="Only images that failed with one of these codes (see `errors_by_code`), such as "
        '`["http_404", "read_timeout"]`; empty: all.',
        examples=[[]],
    )


@router.post(
    "/{batch_id}/cancel",
    status_code=202,
    summary="Cancel a batch",
    operation_id="cancel_batch",
    response_description="The batch, cancelled",
    responses={
        202: example(CANCELLED),
        **documented(404, 503),
        **refused_state("batch-finished", "The batch has ended", "has ended: it is completed."),
    },
)
async def post_cancel(caller: Caller, batch_id: BatchId, resources: Open) -> BatchOut:
    """Give up what has not ended yet. Images that are done stay, and stand in the CSV; a webhook tells of the end."""
    await cancel_batch(
        batch_id,
        api_key_id=caller,
        sessions=resources.sessions,
        queue=resources.queue,
        retention=resources.retention,
        clock=resources.clock,
    )
    return await _shown(batch_id, caller, resources)


@router.post(
    "/{batch_id}/retry",
    status_code=202,
    summary="Retry what failed",
    operation_id="retry_batch",
    response_description="The batch in its new round",
    responses={
        202: example(RETRIED),
        **documented(400, 404, 413, 429, 503),
        **refused_state("nothing-to-retry", "There is nothing to retry", "is completed: no image can be retried."),
        **refused_parameter("codes", "http_404", "list_type", "Input should be a valid list"),
    },
)
async def post_retry(
    caller: Caller, batch_id: BatchId, resources: Open, wish: Annotated[RetryWish | None, Body()] = None
) -> BatchOut:
    """Fetch the images that failed once more: all of them, or those that failed with one of `codes`.

    The batch runs again, and a webhook tells of this end too. Addresses that are none (`invalid_url`) are left out,
    and a batch that was cancelled stays so.
    """
    async with resources.sessions.read() as session:
        await check_quota(session, caller, limits=resources.key_limits)
    await retry_batch(
        batch_id,
        codes=wish.codes if wish else (),
        api_key_id=caller,
        sessions=resources.sessions,
        queue=resources.queue,
        retention=resources.retention,
        clock=resources.clock,
    )
    return await _shown(batch_id, caller, resources)


@router.delete(
    "/{batch_id}",
    status_code=204,
    summary="Delete a batch",
    operation_id="delete_batch",
    response_description="It is gone",
    response_class=Response,
    responses={
        **documented(404, 503),
        **refused_state("batch-not-finished", "The batch is not finished", "is still processing; cancel it first."),
    },
)
async def delete(caller: Caller, batch_id: BatchId, resources: Open) -> None:
    """Remove a batch that has ended, with its images and its webhook's log; a webhook that still waits is not sent.

    From this moment every link to it is a 404.
    """
    await delete_batch(
        batch_id,
        api_key_id=caller,
        sessions=resources.sessions,
        inventory=resources.storage,
        queue=resources.queue,
        clock=resources.clock,
        clean_up_after=resources.retention.clean_up_after,
    )


async def _shown(batch_id: str, caller: str, resources: Resources) -> BatchOut:
    batch, delivery = await read_batch(batch_id, api_key_id=caller, sessions=resources.sessions)
    return batch_out(batch, delivery, resources.links)

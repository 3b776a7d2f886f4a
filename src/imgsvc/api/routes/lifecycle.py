"""Changes to a batch: cancel, retry, delete."""

from typing import Annotated

from fastapi import APIRouter, Body, Response
from pydantic import BaseModel, ConfigDict, Field

from imgsvc.api.dependencies import BatchId, Caller, ResourcesDep
from imgsvc.api.openapi.examples import CANCELLED, RETRIED, example
from imgsvc.api.problems.documented import documented, refused_parameter, refused_state
from imgsvc.api.schemas.batches import BatchOut, batch_out
from imgsvc.bootstrap import Resources
from imgsvc.services.batches.cancel import begin_cancel
from imgsvc.services.batches.change import change_for_request
from imgsvc.services.batches.delete import delete_batch
from imgsvc.services.batches.read import read_batch
from imgsvc.services.batches.retry import begin_retry
from imgsvc.services.intake.quotas import check_quota

router = APIRouter(prefix="/v1/batches", tags=["Changes"])

_Code = Annotated[str, Field(pattern="^[a-z0-9_]{1,40}$")]
_FROZEN_TITLE = "Wish"
"""The body's title in the published OpenAPI document, which does not change."""


class RetryWish(BaseModel):
    """The failures to retry."""

    model_config = ConfigDict(extra="forbid")

    codes: list[_Code] = Field(
        default_factory=list,
        max_length=100,
        description="Retry only images that failed with one of these codes (see `errors_by_code`), for example "
        '`["http_404", "read_timeout"]`. Empty: retry all.',
        examples=[[]],
    )


@router.post(
    "/{batch_id}/cancel",
    status_code=202,
    summary="Cancel a batch",
    operation_id="cancel_batch",
    response_description="The cancelled batch",
    responses={
        202: example(CANCELLED),
        **documented(404, 503),
        **refused_state("batch-finished", "Batch already finished", "has ended: it is completed."),
    },
)
async def post_cancel(caller: Caller, batch_id: BatchId, resources: ResourcesDep) -> BatchOut:
    """Cancel the images that are not finished. Finished images are kept and listed in the CSV; the webhook is sent."""
    await begin_cancel(batch_id, api_key_id=caller, sessions=resources.sessions)
    return await _apply(batch_id, caller, resources)


@router.post(
    "/{batch_id}/retry",
    status_code=202,
    summary="Retry failed images",
    operation_id="retry_batch",
    response_description="The batch in its new round",
    responses={
        202: example(RETRIED),
        **documented(400, 404, 413, 429, 503),
        **refused_state("nothing-to-retry", "Nothing to retry", "is completed: no image can be retried."),
        **refused_parameter("codes", "http_404", "list_type", "Input should be a valid list"),
    },
)
async def post_retry(
    caller: Caller,
    batch_id: BatchId,
    resources: ResourcesDep,
    options: Annotated[RetryWish | None, Body(title=_FROZEN_TITLE)] = None,
) -> BatchOut:
    """Fetch the failed images again: all of them, or those that failed with one of `codes`.

    The batch runs again, and another webhook is sent when it ends. Invalid URLs (`invalid_url`) are not retried, and a
    cancelled batch cannot be retried.
    """
    async with resources.sessions.read() as session:
        await check_quota(session, caller, limits=resources.key_limits)
    await begin_retry(
        batch_id,
        codes=options.codes if options else (),
        api_key_id=caller,
        sessions=resources.sessions,
        retention=resources.retention,
        clock=resources.clock,
    )
    return await _apply(batch_id, caller, resources)


@router.delete(
    "/{batch_id}",
    status_code=204,
    summary="Delete a batch",
    operation_id="delete_batch",
    response_description="The batch is deleted",
    response_class=Response,
    responses={
        **documented(404, 503),
        **refused_state("batch-not-finished", "Batch not finished", "is still processing; cancel it first."),
    },
)
async def delete(caller: Caller, batch_id: BatchId, resources: ResourcesDep) -> None:
    """Delete a batch that has ended, with its images and webhook log; a webhook not yet delivered is not sent.

    From then on, every link to the batch returns 404.
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


async def _apply(batch_id: str, caller: str, resources: Resources) -> BatchOut:
    """Apply the recorded change, as far as there is time, and return the batch."""
    await change_for_request(
        batch_id,
        sessions=resources.sessions,
        queue=resources.queue,
        retention=resources.retention,
        clock=resources.clock,
    )
    batch, delivery = await read_batch(batch_id, api_key_id=caller, sessions=resources.sessions)
    return batch_out(batch, delivery, resources.links)

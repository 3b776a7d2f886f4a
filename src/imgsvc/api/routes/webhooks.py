"""Webhooks: list deliveries, send one again, test an endpoint."""

from typing import Annotated

from fastapi import APIRouter, Body
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imgsvc.api.dependencies import BatchId, Caller, DeliveryId, ResourcesDep
from imgsvc.api.openapi.examples import DELIVERIES, DELIVERY, TEST_RESULT, example
from imgsvc.api.problems.documented import documented, refused_parameter
from imgsvc.api.problems.responses import from_pydantic
from imgsvc.api.schemas.deliveries import DeliveryList, DeliveryOut, WebhookTest, delivery_out, webhook_test_out
from imgsvc.api.uploads.fields import PublicUrl
from imgsvc.errors import EndpointBusy, InvalidUpload, TooMany
from imgsvc.services.intake.quotas import RETRY_AFTER, admit_webhook
from imgsvc.services.webhooks.deliver import list_deliveries, request_redelivery, send_test

router = APIRouter(prefix="/v1", tags=["Webhooks"])


class TrialWish(BaseModel):
    """The endpoint for a test event."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(max_length=2_048, examples=["https://shop.example/hook"])


class _CheckedUrl(BaseModel):
    url: PublicUrl


@router.get(
    "/batches/{batch_id}/deliveries",
    summary="List webhook deliveries",
    operation_id="list_deliveries",
    response_description="The deliveries of the batch, with every attempt",
    responses={200: example(DELIVERIES), **documented(404, 503)},
)
async def get_deliveries(caller: Caller, batch_id: BatchId, resources: ResourcesDep) -> DeliveryList:
    """Return the webhook deliveries of a batch. Each is repeated until `webhook_url` answers with a 2xx.

    There is one delivery per round: the upload is the first round, and every retry of the batch starts another.
    """
    logged = await list_deliveries(batch_id, api_key_id=caller, sessions=resources.sessions)
    return DeliveryList(data=[delivery_out(entry) for entry in logged])


@router.post(
    "/deliveries/{delivery_id}/redeliver",
    status_code=202,
    summary="Redeliver a webhook",
    operation_id="redeliver_event",
    response_description="The delivery is being sent",
    responses={202: example(DELIVERY), **documented(404, 429, 503)},
)
async def redeliver(caller: Caller, delivery_id: DeliveryId, resources: ResourcesDep) -> DeliveryOut:
    """Send the event again at once, whatever its status, with the same `webhook-id`, by which receivers spot repeats.

    If the attempt fails, the retry schedule restarts.
    """
    await admit_webhook(caller, rate_limiter=resources.rate_limiter)
    logged = await request_redelivery(
        delivery_id,
        api_key_id=caller,
        sessions=resources.sessions,
        queue=resources.queue,
        clock=resources.clock,
    )
    return delivery_out(logged)


@router.post(
    "/webhooks/test",
    summary="Send a test webhook",
    operation_id="try_webhook",
    response_description="The response of the endpoint",
    responses={
        200: example(TEST_RESULT),
        **documented(400, 413, 429, 503),
        **refused_parameter("url", "http://10.0.0.1/", "blocked_address", "The address is in a private network."),
    },
)
async def try_webhook(caller: Caller, resources: ResourcesDep, endpoint: Annotated[TrialWish, Body()]) -> WebhookTest:
    """Send one signed `webhook.test` event to `url` and return the response; nothing is stored."""
    try:
        context = {"allowed_networks": resources.settings.allowed_networks}
        checked = _CheckedUrl.model_validate({"url": endpoint.url}, context=context)
    except ValidationError as error:
        problems = from_pydantic(error.errors(include_url=False, include_context=False))
        raise InvalidUpload(problems[0].detail, tuple(problems)) from error
    await admit_webhook(caller, rate_limiter=resources.rate_limiter)
    try:
        event, result = await send_test(
            checked.url,
            api_key_id=caller,
            sessions=resources.sessions,
            sender=resources.sender,
            clock=resources.clock,
        )
    except EndpointBusy as busy:
        raise TooMany(f"{busy}; try again in a moment.", retry_after=RETRY_AFTER, headers={}) from busy
    return webhook_test_out(event.id, result)

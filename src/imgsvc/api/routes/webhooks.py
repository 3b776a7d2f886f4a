"""Webhooks: what was announced and what came back, posting it again, trying an endpoint out."""

from typing import Annotated

from fastapi import APIRouter, Body
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imgsvc.api.dependencies import BatchId, Caller, DeliveryId, Open
from imgsvc.api.openapi.examples import DELIVERIES, DELIVERY, TESTED, example
from imgsvc.api.problems.documented import documented, refused_parameter
from imgsvc.api.problems.responses import from_pydantic
from imgsvc.api.schemas.deliveries import DeliveryList, DeliveryOut, WebhookTest, delivery_out, trial_out
from imgsvc.api.uploads.fields import WebhookUrl
from imgsvc.errors import EndpointBusy, InvalidUpload, TooMany
from imgsvc.services.intake.quotas import RETRY_AFTER, admit_webhook
from imgsvc.services.webhooks.deliver import list_deliveries, request_redelivery, send_test

router = APIRouter(prefix="/v1", tags=["Webhooks"])


class TrialWish(BaseModel):
    """Where to post a test event."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(max_length=2_048, examples=["https://shop.example/hook"])


class _CheckedWish(BaseModel):
    url: WebhookUrl


@router.get(
    "/batches/{batch_id}/deliveries",
    summary="See how a batch was announced",
    operation_id="list_deliveries",
    response_description="The announcements of the batch's ends, with every attempt",
    responses={200: example(DELIVERIES), **documented(404, 503)},
)
async def get_deliveries(caller: Caller, batch_id: BatchId, resources: Open) -> DeliveryList:
    """Each end of the batch is announced once: to its `webhook_url`, again and again until that answers with a 2xx.

    There is one announcement for each round: the upload is the first, every retry begins another.
    """
    logged = await list_deliveries(batch_id, api_key_id=caller, sessions=resources.sessions)
    return DeliveryList(data=[delivery_out(entry) for entry in logged])


@router.post(
    "/deliveries/{delivery_id}/redeliver",
    status_code=202,
    summary="Post an announcement again",
    operation_id="redeliver_event",
    response_description="It is being posted",
    responses={202: example(DELIVERY), **documented(404, 429, 503)},
)
async def redeliver(caller: Caller, delivery_id: DeliveryId, resources: Open) -> DeliveryOut:
    """Post it at once, whatever became of it, under the same `webhook-id`; a receiver that has it already drops it.

    If that fails, the schedule begins anew.
    """
    await admit_webhook(caller, rates=resources.rates)
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
    summary="Try a webhook out",
    operation_id="try_webhook",
    response_description="What came back",
    responses={
        200: example(TESTED),
        **documented(400, 413, 429, 503),
        **refused_parameter("url", "http://10.0.0.1/", "blocked_address", "The address points into a private network."),
    },
)
async def try_webhook(caller: Caller, resources: Open, wish: Annotated[TrialWish, Body()]) -> WebhookTest:
    """Post a signed `webhook.test` event to `url`, once, and tell what came back; nothing is stored."""
    try:
        context = {"allowed_networks": resources.settings.allowed_networks}
        checked = _CheckedWish.model_validate({"url": wish.url}, context=context)
    except ValidationError as error:
        problems = from_pydantic(error.errors(include_url=False, include_context=False))
        raise InvalidUpload(problems[0].detail, tuple(problems)) from error
    await admit_webhook(caller, rates=resources.rates)
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
    return trial_out(event.id, result)

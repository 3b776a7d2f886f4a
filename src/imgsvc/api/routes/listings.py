"""Paginated lists: the batches of an API key, the products of a batch."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AfterValidator

from imgsvc.api.dependencies import BatchId, Caller, ResourcesDep
from imgsvc.api.openapi.examples import BATCH_LIST, PRODUCTS, example
from imgsvc.api.problems.documented import documented, refused_parameter
from imgsvc.api.schemas.batches import BatchPage, batch_out
from imgsvc.api.schemas.products import ProductPage, product_out
from imgsvc.api.uploads.fields import check_printable
from imgsvc.domain.status import AssetStatus, BatchStatus
from imgsvc.services.batches.read import list_batches, list_products, list_products_with_status, read_batch

router = APIRouter(prefix="/v1/batches", tags=["Batches"])

_MAX_POSITION = 2**31 - 1


@router.get(
    "",
    summary="List your batches",
    operation_id="list_batches",
    response_description="One page of batches, newest first",
    responses={
        200: example(BATCH_LIST),
        **documented(503),
        **refused_parameter("limit", "500", "less_than_equal", "Input should be less than or equal to 100"),
    },
)
async def get_batches(
    caller: Caller,
    resources: ResourcesDep,
    status: Annotated[
        list[BatchStatus] | None,
        Query(description="Only batches with one of these statuses; may be repeated.", max_length=8),
    ] = None,
    catalogue: Annotated[
        Annotated[str, AfterValidator(check_printable)] | None,
        Query(max_length=255, description="Only versions of this catalogue."),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="Batches per page.")] = 20,
    after: Annotated[
        str | None, Query(pattern=r"^bat_[0-9a-z]{26}$", description="`next` of the previous page.")
    ] = None,
) -> BatchPage:
    """Return the batches of your API key, newest first, without deleted ones."""
    rows = await list_batches(
        caller,
        statuses=status or (),
        catalogue=catalogue,
        after=after,
        limit=limit + 1,
        sessions=resources.sessions,
    )
    data = [batch_out(batch, delivery, resources.links) for batch, delivery in rows[:limit]]
    has_more = len(rows) > limit
    return BatchPage(data=data, has_more=has_more, next=data[-1].id if has_more else None)


@router.get(
    "/{batch_id}/products",
    summary="List the products of a batch",
    operation_id="list_products",
    response_description="One page of products",
    responses={
        200: example(PRODUCTS),
        **documented(404, 503),
        **refused_parameter("limit", "5000", "less_than_equal", "Input should be less than or equal to 1000"),
    },
)
async def get_products(
    caller: Caller,
    batch_id: BatchId,
    resources: ResourcesDep,
    limit: Annotated[int, Query(ge=1, le=1_000, description="Products per page.")] = 100,
    after: Annotated[int, Query(ge=-1, le=_MAX_POSITION, description="`next` of the previous page.")] = -1,
    status: Annotated[
        list[AssetStatus] | None,
        Query(description="Only products with an image in one of these statuses; may be repeated.", max_length=8),
    ] = None,
) -> ProductPage:
    """Return the products in the order of the CSV, each with the results of its images.

    If products have many images, a page may have fewer than `limit` products although more follow, and with `status`
    even none: while `has_more` is true, continue with `next`.
    """
    batch, _ = await read_batch(batch_id, api_key_id=caller, sessions=resources.sessions)
    if status:
        views, next_after = await list_products_with_status(
            batch.id, status, after=after, limit=limit, sessions=resources.sessions
        )
        data = [product_out(view, batch, resources.links) for view in views]
        return ProductPage(data=data, has_more=next_after is not None, next=next_after)
    page = await list_products(batch.id, after=after, limit=limit, sessions=resources.sessions)
    has_more = bool(page) and page[-1].product.position < batch.product_count - 1
    return ProductPage(
        data=[product_out(view, batch, resources.links) for view in page],
        has_more=has_more,
        next=page[-1].product.position if has_more else None,
    )

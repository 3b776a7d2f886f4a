"""checks.csv: what is to be improved in the images of a batch."""

from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BeforeValidator

from imgsvc.api.dependencies import BatchId, ReportReader, ResourcesDep
from imgsvc.api.download_response import DownloadResponse
from imgsvc.api.openapi.text_examples import CHECKS_CSV
from imgsvc.api.problems.documented import documented, refused_parameter
from imgsvc.api.routes.results import Bom, Partial, Safe, csv_response, finished_batch
from imgsvc.domain.shop_rules import SHOPS
from imgsvc.services.results.checks import checks_csv
from imgsvc.services.results.report import ReportOptions

router = APIRouter(prefix="/v1/batches", tags=["Results"])

ShopName = StrEnum("ShopName", {shop.code: shop.code for shop in SHOPS})  # type: ignore[misc]  # mypy wants literals


def _split(values: Any) -> Any:
    """Split each of `values` at its commas."""
    return [part.strip() for value in values for part in value.split(",")] if values else values


@router.get(
    "/{batch_id}/checks.csv",
    summary="Download checks.csv",
    operation_id="get_checks_csv",
    responses={
        200: {
            "content": {"text/csv": {"schema": {"type": "string"}, "example": CHECKS_CSV}},
            "description": "A row for each remark on an image of a product",
        },
        **documented(404, 409, 503),
        **refused_parameter("shop", "ebay", "enum", "Input should be 'google', 'amazon', 'shopify' or 'meta'"),
    },
    response_class=Response,
)
async def get_checks_csv(
    batch_id: BatchId,
    caller: ReportReader,
    resources: ResourcesDep,
    shop: Annotated[
        list[ShopName] | None,
        BeforeValidator(_split),
        Query(description="Only the rules of these shops, separated by commas or repeated; default: of all shops."),
    ] = None,
    partial: Partial = False,
    safe: Safe = False,
    bom: Bom = False,
) -> DownloadResponse:
    """Return which images break published rules of shops, are the same in several products, or may be placeholders.

    The rules are about the first rendition, as a shop imports it. A product has a row for each remark on its images.
    """
    batch = await finished_batch(batch_id, caller, resources, partial=partial)
    options = ReportOptions(safe=safe, bom=bom)
    text = checks_csv(batch, shop or (), options, sessions=resources.sessions, links=resources.links)
    return csv_response(text, batch, "checks")

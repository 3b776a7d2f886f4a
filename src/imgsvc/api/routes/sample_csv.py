"""The sample CSV that the docs page links to."""

from fastapi import APIRouter, Response

from imgsvc.api.uploads.form import EXAMPLE_CSV

SAMPLE = "/docs/catalog.csv"

router = APIRouter()


@router.get(SAMPLE, include_in_schema=False)
async def get_sample() -> Response:
    headers = {"Content-Disposition": 'attachment; filename="catalog.csv"'}
    return Response(EXAMPLE_CSV, media_type="text/csv", headers=headers)

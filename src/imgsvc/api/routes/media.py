"""The renditions, under addresses that nobody can guess."""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header, Response
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse, RedirectResponse

from imgsvc.api.dependencies import Open
from imgsvc.api.etags import is_known
from imgsvc.api.refusals import documented
from imgsvc.domain.ids import parse_rendition_key
from imgsvc.errors import NotFound
from imgsvc.services import batches

router = APIRouter(prefix="/media", tags=["Images"])

IMMUTABLE = "public, max-age=31536000, immutable"
"""A key never means other bytes."""


@router.get(
    "/{key:path}",
    summary="Get a compressed image",
    operation_id="get_media",
    response_class=Response,
    responses={
        200: {"content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}, "description": "The image"},
        206: {
            "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
            "description": "A `Range` of it",
        },
        304: {"description": "The client has it already"},
        307: {"description": "Where the image lies, on object storage"},
        **documented(404, 503),
    },
)
@router.head("/{key:path}", include_in_schema=False)
async def get_media(
    key: Annotated[str, PathParameter(description="The rest of an output URL.")],
    resources: Open,
    if_none_match: Annotated[str | None, Header(description="The `ETag` you know.")] = None,
) -> Response:
    """The image behind an output URL; needs no API key, because the address itself is the secret."""
    named = parse_rendition_key(key)
    if named is None:
        raise NotFound("There is no such image.")
    batch_id, position = named
    rendition = await batches.rendition(key, batch_id=batch_id, position=position, sessions=resources.sessions)
    place = await resources.storage.locate(key)
    if place is None:
        raise NotFound("There is no such image.")
    if isinstance(place, Path):
        headers = {
            "Cache-Control": IMMUTABLE,
            "ETag": f'"{place.name}"',
            "Content-Disposition": f'inline; filename="{place.name}"',
            "Cross-Origin-Resource-Policy": "cross-origin",  # shops show them on their own pages
        }
        if is_known(headers["ETag"], if_none_match):
            return Response(status_code=304, headers=headers)
        return FileResponse(place, media_type=f"image/{rendition['format']}", headers=headers)
    return RedirectResponse(place, 307, headers={"Cache-Control": "private, max-age=300"})

"""Renditions, at URLs that cannot be guessed."""

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from fastapi import Path as PathParameter

from imgsvc.adapters.storage.open_storage import StorageBackend
from imgsvc.api.dependencies import ResourcesDep
from imgsvc.api.etags import etag_matches
from imgsvc.api.object_response import ObjectResponse, parse_range
from imgsvc.api.problems.documented import documented
from imgsvc.domain.imaging.formats import OUTPUT_FORMATS
from imgsvc.errors import NotFound, ObjectNotFound, StorageError
from imgsvc.services.batches.read import find_rendition
from imgsvc.services.ports import OpenObject, Part

router = APIRouter(prefix="/media", tags=["Images"])

IMMUTABLE = "public, max-age=31536000, immutable"
"""The bytes of a key never change."""


@router.get(
    "/{key:path}",
    summary="Get a compressed image",
    operation_id="get_media",
    response_class=Response,
    responses={
        200: {"content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}, "description": "The image"},
        206: {
            "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
            "description": "The requested `Range` of the image",
        },
        304: {"description": "Unchanged since `If-None-Match`"},
        307: {"description": "A redirect to the object storage, as earlier versions sent it"},
        **documented(404, 503),
    },
)
@router.head("/{key:path}", include_in_schema=False)
async def get_media(
    request: Request,
    key: Annotated[str, PathParameter(description="The part of an output URL after `/media/`.")],
    resources: ResourcesDep,
    if_none_match: Annotated[str | None, Header(description="The `ETag` of an earlier response.")] = None,
    byte_range: Annotated[str | None, Header(alias="Range", include_in_schema=False)] = None,
    if_range: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Response:
    """Return the image of an output URL. No API key is required, because the URL itself is secret."""
    rendition = await find_rendition(key, sessions=resources.sessions)
    name = key.rpartition("/")[2]
    headers = {
        "Cache-Control": IMMUTABLE,
        "ETag": f'"{name}"',
        "Content-Disposition": f'inline; filename="{name}"',
        "Cross-Origin-Resource-Policy": "cross-origin",  # shops embed the images in their own pages
        "Accept-Ranges": "bytes",
    }
    if etag_matches(headers["ETag"], if_none_match):
        return Response(status_code=304, headers=headers)
    part = None
    if byte_range and if_range in (None, headers["ETag"]):
        part = parse_range(byte_range, rendition["bytes"])
    found = await _open(key, Part(0, 1) if request.method == "HEAD" else part, resources.storage)
    media_type = OUTPUT_FORMATS[rendition["format"]].media_type
    return ObjectResponse(found, part, media_type=media_type, headers=headers)


async def _open(key: str, part: Part | None, storage: StorageBackend) -> OpenObject:
    """Open a stored file.

    Raises:
        NotFound: the file does not exist, or has just been removed.
        StorageError: the storage does not respond.
    """
    try:
        return await storage.open(key, part)
    except ObjectNotFound as exc:
        if await storage.exists(key):  # raises StorageError if the whole folder is missing
            raise StorageError(f"{key} appeared a moment after it was missing") from exc
        raise NotFound("There is no such image.") from exc

"""Renditions, at URLs that cannot be guessed."""

import asyncio
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, BinaryIO

from fastapi import APIRouter, Header, Request, Response
from fastapi import Path as PathParameter
from fastapi.responses import RedirectResponse

from imgsvc.api.dependencies import ResourcesDep
from imgsvc.api.etags import etag_matches
from imgsvc.api.file_response import OpenFileResponse
from imgsvc.api.problems.documented import documented
from imgsvc.domain.ids import parse_rendition_key
from imgsvc.domain.imaging.formats import OUTPUT_FORMATS
from imgsvc.errors import NotFound, StorageError
from imgsvc.services.batches.read import find_rendition
from imgsvc.services.ports import Storage

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
        307: {"description": "A redirect to the image in the object storage"},
        **documented(404, 503),
    },
)
@router.head("/{key:path}", include_in_schema=False)
async def get_media(
    request: Request,
    key: Annotated[str, PathParameter(description="The part of an output URL after `/media/`.")],
    resources: ResourcesDep,
    if_none_match: Annotated[str | None, Header(description="The `ETag` of an earlier response.")] = None,
) -> Response:
    """Return the image of an output URL. No API key is required, because the URL itself is secret."""
    parsed = parse_rendition_key(key)
    if parsed is None:
        raise NotFound("There is no such image.")
    batch_id, position = parsed
    rendition = await find_rendition(key, batch_id=batch_id, position=position, sessions=resources.sessions)
    location = await _locate(key, resources.storage, method=request.method)
    if isinstance(location, str):
        return RedirectResponse(location, 307, headers={"Cache-Control": "private, max-age=300"})
    with ExitStack() as until_sent:
        file = until_sent.enter_context(location)
        name = Path(file.name).name
        headers = {
            "Cache-Control": IMMUTABLE,
            "ETag": f'"{name}"',
            "Content-Disposition": f'inline; filename="{name}"',
            "Cross-Origin-Resource-Policy": "cross-origin",  # shops embed the images in their own pages
        }
        if etag_matches(headers["ETag"], if_none_match):
            return Response(status_code=304, headers=headers)
        until_sent.pop_all()
        return OpenFileResponse(file, media_type=OUTPUT_FORMATS[rendition["format"]].media_type, headers=headers)


async def _locate(key: str, storage: Storage, *, method: str) -> BinaryIO | str:
    """Return the open file, or the link to redirect to.

    Raises:
        NotFound: the file does not exist, or has just been removed.
        StorageError: the storage does not answer.
    """
    for _ in range(2):  # a second look-up shows whether a file that vanished was removed, or the storage is unavailable
        location = await (storage.locate(key, method="HEAD") if method == "HEAD" else storage.locate(key))
        if isinstance(location, str):
            return location
        if location is None:
            break
        try:
            return await asyncio.to_thread(location.open, "rb")
        except FileNotFoundError:
            continue
        except OSError as exc:
            raise StorageError(f"a file could not be opened: {exc}") from exc
    raise NotFound("There is no such image.")

"""The renditions, under addresses that nobody can guess."""

import asyncio
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, BinaryIO

from fastapi import APIRouter, Header, Request, Response
from fastapi import Path as PathParameter
from fastapi.responses import RedirectResponse

from imgsvc.api.dependencies import Open
from imgsvc.api.etags import is_known
from imgsvc.api.file_response import OpenFileResponse
from imgsvc.api.problems.documented import documented
from imgsvc.domain.ids import parse_rendition_key
from imgsvc.domain.imaging.formats import OUTPUT_FORMATS
from imgsvc.errors import NotFound, StorageError
from imgsvc.services.batches.read import find_rendition
from imgsvc.services.ports import Storage

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
    request: Request,
    key: Annotated[str, PathParameter(description="The rest of an output URL.")],
    resources: Open,
    if_none_match: Annotated[str | None, Header(description="The `ETag` you know.")] = None,
) -> Response:
    """The image behind an output URL; needs no API key, because the address itself is the secret."""
    named = parse_rendition_key(key)
    if named is None:
        raise NotFound("There is no such image.")
    batch_id, position = named
    rendition = await find_rendition(key, batch_id=batch_id, position=position, sessions=resources.sessions)
    place = await _place(key, resources.storage, method=request.method)
    if isinstance(place, str):
        return RedirectResponse(place, 307, headers={"Cache-Control": "private, max-age=300"})
    with ExitStack() as until_sent:
        file = until_sent.enter_context(place)
        name = Path(file.name).name
        headers = {
            "Cache-Control": IMMUTABLE,
            "ETag": f'"{name}"',
            "Content-Disposition": f'inline; filename="{name}"',
            "Cross-Origin-Resource-Policy": "cross-origin",  # shops show them on their own pages
        }
        if is_known(headers["ETag"], if_none_match):
            return Response(status_code=304, headers=headers)
        until_sent.pop_all()
        return OpenFileResponse(file, media_type=OUTPUT_FORMATS[rendition["format"]].media_type, headers=headers)


async def _place(key: str, storage: Storage, *, method: str) -> BinaryIO | str:
    """The file, opened, or the link to redirect to.

    Raises:
        NotFound: it is not there, or was removed a moment ago.
        StorageError: the storage does not answer.
    """
    for _ in range(2):  # where the file has gone since it was found, whether it is gone or the storage is away
        place = await (storage.locate(key, method="HEAD") if method == "HEAD" else storage.locate(key))
        if isinstance(place, str):
            return place
        if place is None:
            break
        try:
            return await asyncio.to_thread(place.open, "rb")
        except FileNotFoundError:
            continue
        except OSError as exc:
            raise StorageError(f"a file could not be opened: {exc}") from exc
    raise NotFound("There is no such image.")

"""Dependencies of routes: the open resources, the caller, the watcher, ids from the path."""

from typing import Annotated

from fastapi import Depends, Path, Query, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from imgsvc.api.auth import RequestAuthenticator
from imgsvc.api.live.watcher import Watcher
from imgsvc.api.uploads.content import UploadParts
from imgsvc.bootstrap import Resources, manifest_limits
from imgsvc.domain.ids import is_id
from imgsvc.errors import NotFound
from imgsvc.services.access.api_keys import owner_by_link
from imgsvc.services.results.report_file import ReportFiles


def _resources(request: Request) -> Resources:
    resources: Resources = request.app.state.resources
    return resources


def _watcher(request: Request) -> Watcher:
    watcher: Watcher = request.app.state.watcher
    return watcher


def _upload_parts(request: Request) -> UploadParts:
    state, resources = request.app.state, _resources(request)
    settings = resources.settings
    return UploadParts(
        budget=state.budget,
        converter=state.converter,
        fetcher=state.catalogue_fetcher,
        sessions=resources.sessions,
        clock=resources.clock,
        limits=manifest_limits(settings),
        max_bytes=settings.max_upload_bytes,
        max_pixels=settings.max_pixels,
        allowed_networks=settings.allowed_networks,
    )


_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="api_key",
    description="The API key that `imgsvc keys create` printed (`isk_…`). Not required while no key exists.",
)


async def _caller(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
) -> str:
    """Return the id of the caller's API key; while no key exists, that is the local key."""
    authenticator: RequestAuthenticator = request.app.state.authenticator
    return await authenticator.authenticate(credentials.credentials if credentials else None, request.headers)


def _batch_id(
    batch_id: Annotated[
        str, Path(description="The `id` that the upload returned.", examples=["bat_01m81syxdvn0cchm7jgbq1vyb2"])
    ],
) -> str:
    """Return the id if it is well-formed; Postgres refuses to look up some others, such as those with NUL."""
    if not is_id("bat", batch_id):
        raise NotFound("There is no such batch: an id is `bat_` followed by 26 letters and digits.")
    return batch_id


def _delivery_id(
    delivery_id: Annotated[
        str, Path(description="The event's `webhook-id`.", examples=["evt_01m81sz00wq6j8v5n2m3k4r7xt"])
    ],
) -> str:
    if not is_id("evt", delivery_id):
        raise NotFound("There is no such delivery: an id is `evt_` followed by 26 letters and digits.")
    return delivery_id


async def _report_reader(
    request: Request,
    resources: Annotated[Resources, Depends(_resources)],
    batch_id: Annotated[str, Depends(_batch_id)],
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    expires: Annotated[
        int | None,
        Query(
            ge=0,
            le=2**40,
            description="Part of a signed link, as sent to the webhook: when it expires, in seconds since 1970. "
            "Signed links need no API key.",
        ),
    ] = None,
    signature: Annotated[str | None, Query(max_length=100, description="Part of a signed link.")] = None,
) -> str:
    """Return the id of the API key: the batch owner's for a signed link, otherwise the caller's."""
    if signature is None or expires is None:
        return await _caller(request, credentials)
    name = request.url.path.rpartition("/")[2]
    return await owner_by_link(
        batch_id, name, expires=expires, signature=signature, sessions=resources.sessions, clock=resources.clock
    )


def _report_files(request: Request) -> ReportFiles:
    files: ReportFiles = request.app.state.report_files
    return files


ResourcesDep = Annotated[Resources, Depends(_resources)]
UploadPartsDep = Annotated[UploadParts, Depends(_upload_parts)]
WatcherDep = Annotated[Watcher, Depends(_watcher)]
ReportFilesDep = Annotated[ReportFiles, Depends(_report_files)]
Caller = Annotated[str, Depends(_caller)]
ReportReader = Annotated[str, Depends(_report_reader)]
BatchId = Annotated[str, Depends(_batch_id)]
DeliveryId = Annotated[str, Depends(_delivery_id)]

"""What routes ask for: the open resources, who is calling, the watcher, a batch's id."""

from typing import Annotated

from fastapi import Depends, Path, Request

from imgsvc.api.watcher import Watcher
from imgsvc.bootstrap import Resources
from imgsvc.db.queries.keys import LOCAL_KEY
from imgsvc.domain.ids import is_id
from imgsvc.errors import NotFound


def _resources(request: Request) -> Resources:
    resources: Resources = request.app.state.resources
    return resources


def _watcher(request: Request) -> Watcher:
    watcher: Watcher = request.app.state.watcher
    return watcher


def _caller() -> str:
    """The id of the API key; without keys everything belongs to the local one."""
    return LOCAL_KEY


def _batch_id(
    batch_id: Annotated[
        str, Path(description="As the upload returned it.", examples=["bat_01m81syxdvn0cchm7jgbq1vyb2"])
    ],
) -> str:
    """Only what can be an id is looked up; Postgres refuses some of the rest, such as NUL."""
    if not is_id("bat", batch_id):
        raise NotFound("There is no such batch: an id is `bat_` and 26 letters and digits.")
    return batch_id


def _delivery_id(
    delivery_id: Annotated[
        str, Path(description="The event's id: its `webhook-id`.", examples=["evt_01m81sz00wq6j8v5n2m3k4r7xt"])
    ],
) -> str:
    if not is_id("evt", delivery_id):
        raise NotFound("There is no such delivery: an id is `evt_` and 26 letters and digits.")
    return delivery_id


Open = Annotated[Resources, Depends(_resources)]
Watch = Annotated[Watcher, Depends(_watcher)]
Caller = Annotated[str, Depends(_caller)]
BatchId = Annotated[str, Depends(_batch_id)]
DeliveryId = Annotated[str, Depends(_delivery_id)]

"""Health checks: liveness of the process, readiness of the components that it needs."""

import asyncio
from collections.abc import Awaitable
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, Field

from imgsvc.api.dependencies import ResourcesDep
from imgsvc.api.live.shared_check import SharedCheck
from imgsvc.api.problems.documented import refused_parameter
from imgsvc.bootstrap import Resources
from imgsvc.db import migrations
from imgsvc.errors import ImgsvcError, QueueUnavailable
from imgsvc.logs import get_logger

router = APIRouter(tags=["Operations"])

log = get_logger(__name__)

_TIMEOUT = 3.0
UNAVAILABLE = "unavailable; see the log"
"""The route is public, and the error messages of libraries contain addresses and paths."""


STORAGE_MAX_AGE = 10.0
"""Seconds; a check writes and removes a file, which on S3 is two billed requests."""
STORAGE_UNAVAILABLE_MAX_AGE = 2.0


class ReadinessChecks:
    """Checks each component at most once at a time, however many requests there are, and the storage rarely."""

    def __init__(self) -> None:
        self._database = SharedCheck[str](max_age=lambda _: 0)
        self._storage = SharedCheck[str](
            max_age=lambda state: STORAGE_MAX_AGE if state == "ok" else STORAGE_UNAVAILABLE_MAX_AGE
        )
        self._queue = SharedCheck[tuple[str, int]](max_age=lambda _: 0)

    async def check(self, resources: Resources) -> tuple[str, str, tuple[str, int]]:
        """Return the states of database and storage, `ok` or an error, and that of Redis with its live workers."""
        database = asyncio.create_task(self._database.result(lambda: _state(migrations.check(resources.sessions))))
        storage = asyncio.create_task(self._storage.result(lambda: _state(resources.storage.check())))
        queue = asyncio.create_task(self._queue.result(lambda: _queue(resources)))
        await asyncio.wait((database, storage, queue))  # each completes, even if another fails
        return database.result(), storage.result(), queue.result()

    async def aclose(self) -> None:
        for check in (self._database, self._storage, self._queue):
            await check.aclose()


def _checks(request: Request) -> ReadinessChecks:
    checks: ReadinessChecks = request.app.state.readiness
    return checks


ChecksDep = Annotated[ReadinessChecks, Depends(_checks)]


class Health(BaseModel):
    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """The state of each component. Uploads need the database and the storage; Redis and workers may start later."""

    status: Literal["ready", "not_ready"]
    database: str = Field(description="`ok`, or the error.")
    storage: str = Field(description="`ok`, or the error.")
    redis: str = Field(description="`ok`, or the error.")
    workers: int = Field(description="Worker processes that reported in the last 30 seconds.")


@router.get("/healthz", summary="Check liveness", operation_id="get_health", response_description="Alive")
@router.head("/healthz", include_in_schema=False)
async def get_health() -> Health:
    """Return 200 as long as the process responds; no component is checked."""
    return Health()


@router.get(
    "/readyz",
    summary="Check readiness",
    operation_id="get_readiness",
    response_description="Ready",
    responses={
        503: {"model": Readiness, "description": "Not ready"},
        **refused_parameter("strict", "perhaps", "bool_parsing", "Input should be a valid boolean"),
    },
)
@router.head("/readyz", include_in_schema=False)
async def get_readiness(
    response: Response,
    resources: ResourcesDep,
    checks: ChecksDep,
    strict: Annotated[bool, Query(description="Require Redis and at least one worker as well.")] = False,
) -> Readiness:
    """Return 503 unless the database and the storage work; with `strict`, Redis and at least one worker as well.

    The state of the storage may be up to 10 seconds old, because checking it means writing to it (2 seconds if it is
    unavailable). The other components are checked at every call; concurrent calls share the result.
    """
    database, storage, (redis, workers) = await checks.check(resources)
    ready = (database, storage) == ("ok", "ok") and (not strict or (redis == "ok" and workers > 0))
    if not ready:
        response.status_code = 503
    return Readiness(
        status="ready" if ready else "not_ready", database=database, storage=storage, redis=redis, workers=workers
    )


async def _queue(resources: Resources) -> tuple[str, int]:
    try:
        return "ok", await resources.queue.live_workers()
    except QueueUnavailable as error:
        log.warning("queue_unavailable", error=str(error))
        return UNAVAILABLE, 0


async def _state(check: Awaitable[None]) -> str:
    try:
        async with asyncio.timeout(_TIMEOUT):
            await check
    except migrations.SchemaBehind as error:
        return str(error)
    except ImgsvcError as error:
        log.warning("component_unavailable", error=str(error))
        return UNAVAILABLE
    except TimeoutError:
        return f"No answer within {_TIMEOUT:g} s."
    return "ok"

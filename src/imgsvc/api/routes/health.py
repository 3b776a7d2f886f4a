"""Is the process alive, and are the parts there that it needs."""

import asyncio
from collections.abc import Awaitable
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, Field

from imgsvc.api.dependencies import Open
from imgsvc.api.live.shared_check import SharedCheck
from imgsvc.api.problems.documented import refused_parameter
from imgsvc.bootstrap import Resources
from imgsvc.db import migrations
from imgsvc.errors import ImgsvcError, QueueUnavailable
from imgsvc.logs import get_logger

router = APIRouter(tags=["Operations"])

log = get_logger(__name__)

_TIMEOUT = 3.0
AWAY = "away; the log says why"
"""Anybody may ask, and what a library says has addresses and paths in it."""


STORAGE_MAX_AGE = 10.0
"""Seconds; a check writes a file and removes it, which on S3 is two requests that cost money."""
STORAGE_AWAY_MAX_AGE = 2.0


class ReadinessChecks:
    """Asks each part once at a time, however many calls there are, and the storage once in a while."""

    def __init__(self) -> None:
        self._database = SharedCheck[str](max_age=lambda _: 0)
        self._storage = SharedCheck[str](max_age=lambda it: STORAGE_MAX_AGE if it == "ok" else STORAGE_AWAY_MAX_AGE)
        self._queue = SharedCheck[tuple[str, int]](max_age=lambda _: 0)

    async def ask(self, resources: Resources) -> tuple[str, str, tuple[str, int]]:
        """Return the state of database and storage, `ok` or what is wrong, and that of Redis with its live workers."""
        database = asyncio.create_task(self._database.result(lambda: _state(migrations.check(resources.sessions))))
        storage = asyncio.create_task(self._storage.result(lambda: _state(resources.storage.check())))
        queue = asyncio.create_task(self._queue.result(lambda: _queue(resources)))
        await asyncio.wait((database, storage, queue))  # each to its end, also when another breaks
        return database.result(), storage.result(), queue.result()

    async def aclose(self) -> None:
        for check in (self._database, self._storage, self._queue):
            await check.aclose()


def _checks(request: Request) -> ReadinessChecks:
    checks: ReadinessChecks = request.app.state.readiness
    return checks


Checks = Annotated[ReadinessChecks, Depends(_checks)]


class Health(BaseModel):
    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Uploads are accepted when the database and the storage work; Redis and workers may come later."""

    status: Literal["ready", "not_ready"]
    database: str = Field(description="`ok`, or what is wrong.")
    storage: str = Field(description="`ok`, or what is wrong.")
    redis: str = Field(description="`ok`, or what is wrong.")
    workers: int = Field(description="Worker processes heard of in the last 30 seconds.")


@router.get("/healthz", summary="Is the API process alive", operation_id="get_health", response_description="Alive")
@router.head("/healthz", include_in_schema=False)
async def get_health() -> Health:
    """200 as long as the process answers; asks nothing of its parts."""
    return Health()


@router.get(
    "/readyz",
    summary="Are the parts there that it needs",
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
    resources: Open,
    checks: Checks,
    strict: Annotated[bool, Query(description="Ask for Redis and at least one worker too.")] = False,
) -> Readiness:
    """503 unless the database and the storage work; with `strict`, Redis and at least one worker are asked for too.

    The storage's state is at most 10 seconds old, because asking it means writing to it (2 seconds when it is away).
    The other parts are asked at each call; calls at the same time share the answers.
    """
    database, storage, (redis, workers) = await checks.ask(resources)
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
        return AWAY, 0


async def _state(check: Awaitable[None]) -> str:
    try:
        async with asyncio.timeout(_TIMEOUT):
            await check
    except migrations.SchemaBehind as error:
        return str(error)
    except ImgsvcError as error:
        log.warning("component_unavailable", error=str(error))
        return AWAY
    except TimeoutError:
        return f"No answer within {_TIMEOUT:g} s."
    return "ok"

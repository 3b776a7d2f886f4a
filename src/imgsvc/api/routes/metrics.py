"""Metrics, for a Prometheus of whoever runs the service."""

import asyncio
import secrets
from collections.abc import Awaitable
from datetime import datetime
from typing import TypeVar

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from imgsvc.api.auth import RequestAuthenticator
from imgsvc.api.dependencies import Open
from imgsvc.api.metrics import MetricsCollector, MetricsSnapshot
from imgsvc.api.problems.documented import documented
from imgsvc.api.proxy_headers import proxy_header
from imgsvc.bootstrap import Resources
from imgsvc.db.queries import backlog
from imgsvc.errors import ImgsvcError, Unauthorized
from imgsvc.logs import get_logger
from imgsvc.process.loopback import is_loopback

router = APIRouter(tags=["Operations"])
log = get_logger(__name__)
T = TypeVar("T")

_TIMEOUT = 3.0


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    operation_id="get_metrics",
    response_class=Response,
    responses={
        200: {
            "content": {"text/plain": {"schema": {"type": "string"}}},
            "description": "The text format of Prometheus",
        },
        **documented(401),
    },
)
async def get_metrics(request: Request, resources: Open) -> Response:
    """What waits, what the workers have done, and how requests were answered, over all API keys.

    Answered to whoever sends `IMGSVC_METRICS_TOKEN` as a bearer token, or, while that is unset, on this machine only.
    What belongs to a part that is away is left out, and `imgsvc_component_up` tells of it.
    """
    _let_in(request, resources)
    requests: CollectorRegistry = request.app.state.request_times
    looks = CollectorRegistry(auto_describe=False)
    looks.register(MetricsCollector(await _look(resources)))
    return Response(generate_latest(looks) + generate_latest(requests), media_type=CONTENT_TYPE_LATEST)


def _let_in(request: Request, resources: Resources) -> None:
    """No API key opens this: the figures are those of all keys together."""
    wanted = resources.settings.metrics_token
    if wanted is not None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        fits = secrets.compare_digest(token.encode(), wanted.get_secret_value().encode())
        if scheme.lower() != "bearer" or not fits:
            raise Unauthorized("Metrics are for whoever has IMGSVC_METRICS_TOKEN.")
        return
    is_here = request.client is not None and is_loopback(request.client.host)
    authenticator: RequestAuthenticator = request.app.state.authenticator
    is_page = "origin" in request.headers or not authenticator.is_ours(
        request.headers.get("host", "")
    )  # as the door keeps out
    if not is_here or is_page or proxy_header(request.headers):
        raise Unauthorized("Without IMGSVC_METRICS_TOKEN metrics are answered on this machine only.")


async def _look(resources: Resources) -> MetricsSnapshot:
    database, queue = await asyncio.gather(_asked(_database(resources)), _asked(_queue(resources)))
    batches, deliveries = database or (None, None)
    waiting, worker_stats = queue or (None, None)
    parts = {"database": database is not None, "redis": queue is not None}
    return MetricsSnapshot(resources.clock(), batches, deliveries, waiting, worker_stats, parts)


async def _database(resources: Resources) -> tuple[list[backlog.OpenBatches], tuple[int, datetime | None]]:
    async with resources.sessions.read() as session:
        return await backlog.open_batches(session), await backlog.open_deliveries(session)


async def _queue(resources: Resources) -> tuple[int, dict[str, dict[str, int]]]:
    return await resources.queue.waiting(), await resources.queue.worker_stats()


async def _asked(question: Awaitable[T]) -> T | None:
    """None when no answer comes."""
    try:
        async with asyncio.timeout(_TIMEOUT):
            return await question
    except (ImgsvcError, TimeoutError) as error:
        log.warning("component_unavailable", error=str(error) or "no answer in time")
        return None

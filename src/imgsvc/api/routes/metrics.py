"""Metrics for the operator's Prometheus."""

import asyncio
import secrets
from collections.abc import Awaitable
from datetime import datetime
from typing import TypeVar

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from imgsvc.api.auth import RequestAuthenticator
from imgsvc.api.dependencies import ResourcesDep
from imgsvc.api.metrics import MetricsCollector, MetricsSnapshot
from imgsvc.api.problems.documented import documented
from imgsvc.api.proxy_headers import proxy_header
from imgsvc.bootstrap import Resources
from imgsvc.db.queries import backlog
from imgsvc.errors import ImgsvcError, Unauthorized
from imgsvc.logs import get_logger
from imgsvc.process.loopback import is_loopback
from imgsvc.services.throttling.busy_hosts import BusyHost

router = APIRouter(tags=["Operations"])
log = get_logger(__name__)
T = TypeVar("T")

_TIMEOUT = 3.0


@router.get(
    "/metrics",
    summary="Get Prometheus metrics",
    operation_id="get_metrics",
    response_class=Response,
    responses={
        200: {
            "content": {"text/plain": {"schema": {"type": "string"}}},
            "description": "The metrics in the Prometheus text format",
        },
        **documented(401),
    },
)
async def get_metrics(request: Request, resources: ResourcesDep) -> Response:
    """Return the backlog, the workers' counters, the busiest hosts and the duration of requests, for all API keys.

    Send `IMGSVC_METRICS_TOKEN` as a bearer token; while that is unset, metrics are available on this machine only.
    Values of an unavailable component are omitted, and `imgsvc_component_up` reports it.
    """
    _authenticate(request, resources)
    request_times: CollectorRegistry = request.app.state.request_times
    registry = CollectorRegistry(auto_describe=False)
    registry.register(MetricsCollector(await _snapshot(resources)))
    return Response(generate_latest(registry) + generate_latest(request_times), media_type=CONTENT_TYPE_LATEST)


def _authenticate(request: Request, resources: Resources) -> None:
    """Raise `Unauthorized` without the token; an API key is not enough, because the metrics cover all keys."""
    expected = resources.settings.metrics_token
    if expected is not None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        matches = secrets.compare_digest(token.encode(), expected.get_secret_value().encode())
        if scheme.lower() != "bearer" or not matches:
            raise Unauthorized("Send the value of IMGSVC_METRICS_TOKEN as a bearer token.")
        return
    is_local = request.client is not None and is_loopback(request.client.host)
    authenticator: RequestAuthenticator = request.app.state.authenticator
    is_cross_origin = "origin" in request.headers or not authenticator.is_own_host(request.headers.get("host", ""))
    if not is_local or is_cross_origin or proxy_header(request.headers):
        raise Unauthorized("While IMGSVC_METRICS_TOKEN is unset, metrics are available on this machine only.")


async def _snapshot(resources: Resources) -> MetricsSnapshot:
    database, queue = await asyncio.gather(_or_none(_database(resources)), _or_none(_queue(resources)))
    batches, deliveries = database or (None, None)
    waiting, worker_stats, hosts = queue or (None, None, None)
    components = {"database": database is not None, "redis": queue is not None}
    return MetricsSnapshot(resources.clock(), batches, deliveries, waiting, worker_stats, hosts, components)


async def _database(resources: Resources) -> tuple[list[backlog.OpenBatches], tuple[int, datetime | None]]:
    async with resources.sessions.read() as session:
        return await backlog.open_batches(session), await backlog.open_deliveries(session)


async def _queue(resources: Resources) -> tuple[int, dict[str, dict[str, int]], list[BusyHost]]:
    queue = resources.queue
    return await queue.waiting(), await queue.worker_stats(), await queue.busy_hosts()


async def _or_none(read: Awaitable[T]) -> T | None:
    """Return the result, or None if the component fails or does not answer in time."""
    try:
        async with asyncio.timeout(_TIMEOUT):
            return await read
    except (ImgsvcError, TimeoutError) as error:
        log.warning("component_unavailable", error=str(error) or "no answer in time")
        return None

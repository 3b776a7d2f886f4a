"""What a Prometheus sees of the service: what waits, what the workers have done, how requests were answered."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from time import perf_counter

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imgsvc.db.queries.backlog import OpenBatches
from imgsvc.services.processing.worker_stats import INPUT_BYTES, OUTPUT_BYTES

StatsByWorker = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class MetricsSnapshot:
    """One look at the parts; what could not be asked is None."""

    now: datetime
    open_batches: list[OpenBatches] | None = None
    open_deliveries: tuple[int, datetime | None] | None = None
    waiting_lanes: int | None = None
    worker_stats: StatsByWorker | None = None
    parts: Mapping[str, bool] = field(default_factory=dict)


class MetricsCollector(Collector):
    """One look as metrics."""

    def __init__(self, seen: MetricsSnapshot) -> None:
        self._seen = seen

    def collect(self) -> Iterable[Metric]:
        seen = self._seen
        yield _gauge("imgsvc_component_up", "Whether a part answers", "part", seen.parts)
        if seen.open_batches is not None:
            yield from _backlog(seen.open_batches, seen.now)
        if seen.open_deliveries is not None:
            count, due = seen.open_deliveries
            overdue = max(0.0, (seen.now - due).total_seconds()) if due else 0.0
            yield GaugeMetricFamily("imgsvc_open_deliveries", "Webhooks that are not delivered yet", value=count)
            yield GaugeMetricFamily("imgsvc_delivery_overdue_seconds", "How late the latest of them is", value=overdue)
        if seen.waiting_lanes is not None:
            yield GaugeMetricFamily("imgsvc_waiting_lanes", "Jobs that wait for a worker", value=seen.waiting_lanes)
        if seen.worker_stats is not None:
            yield GaugeMetricFamily("imgsvc_workers", "Worker processes that live", value=len(seen.worker_stats))
            yield from _work(seen.worker_stats)


def _gauge(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family


def _backlog(rows: list[OpenBatches], now: datetime) -> Iterator[Metric]:
    yield _gauge(
        "imgsvc_open_batches", "Batches that have not ended", "status", {row.status: row.batches for row in rows}
    )
    assets = {"pending": sum(row.pending for row in rows), "processing": sum(row.processing for row in rows)}
    yield _gauge("imgsvc_open_assets", "Images that have not ended", "status", assets)
    oldest = max(((now - row.oldest).total_seconds() for row in rows), default=0.0)
    yield GaugeMetricFamily("imgsvc_oldest_open_batch_seconds", "Age of the oldest open batch", value=oldest)


def _work(worker_stats: StatsByWorker) -> Iterator[Metric]:
    images = CounterMetricFamily("imgsvc_images", "Images worked on", labels=["worker", "outcome", "code"])
    transfer = CounterMetricFamily(
        "imgsvc_image_bytes", "Bytes of those that succeeded", labels=["worker", "direction"]
    )
    for worker, counts in worker_stats.items():
        for name, count in counts.items():
            if name in (INPUT_BYTES, OUTPUT_BYTES):
                transfer.add_metric([worker, name.removesuffix("_bytes")], count)
            else:
                outcome, _, code = name.partition(":")
                images.add_metric([worker, outcome, code], count)
    yield images
    yield transfer


class RequestTimes:
    """Counts every answer by operation and status, and how long it took, long polls and streams included."""

    def __init__(self, app: ASGIApp, registry: CollectorRegistry) -> None:
        self.app = app
        self._times = Histogram(
            "imgsvc_http_request_duration_seconds",
            "Time until a request was answered to its end",
            ["operation", "status"],
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=registry,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = perf_counter(), 500

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_noted)
        finally:
            operation = getattr(scope.get("route"), "operation_id", None) or "none"
            self._times.labels(operation, str(status)).observe(perf_counter() - began)

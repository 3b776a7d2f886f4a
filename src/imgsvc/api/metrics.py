"""Prometheus metrics: the backlog, the workers' counters, the busiest hosts, and the duration of requests."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from time import perf_counter

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imgsvc.db.queries.backlog import OpenBatches
from imgsvc.services.processing.worker_stats import INPUT_BYTES, OUTPUT_BYTES
from imgsvc.services.throttling.busy_hosts import BusyHost

StatsByWorker = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class MetricsSnapshot:
    """The state of all components at one moment; None for values of a component that did not answer."""

    now: datetime
    open_batches: list[OpenBatches] | None = None
    open_deliveries: tuple[int, datetime | None] | None = None
    waiting_lanes: int | None = None
    worker_stats: StatsByWorker | None = None
    busy_hosts: Sequence[BusyHost] | None = None
    components: Mapping[str, bool] = field(default_factory=dict)


class MetricsCollector(Collector):
    """Converts one snapshot to metrics."""

    def __init__(self, snapshot: MetricsSnapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterable[Metric]:
        snapshot = self._snapshot
        yield _gauge("imgsvc_component_up", "1 if the component answers, otherwise 0", "part", snapshot.components)
        if snapshot.open_batches is not None:
            yield from _backlog(snapshot.open_batches, snapshot.now)
        if snapshot.open_deliveries is not None:
            count, due = snapshot.open_deliveries
            overdue = max(0.0, (snapshot.now - due).total_seconds()) if due else 0.0
            yield GaugeMetricFamily("imgsvc_open_deliveries", "Webhooks not delivered yet", value=count)
            yield GaugeMetricFamily(
                "imgsvc_delivery_overdue_seconds", "Seconds that the most overdue webhook is late", value=overdue
            )
        if snapshot.waiting_lanes is not None:
            yield GaugeMetricFamily("imgsvc_waiting_lanes", "Jobs waiting for a worker", value=snapshot.waiting_lanes)
        if snapshot.worker_stats is not None:
            yield GaugeMetricFamily("imgsvc_workers", "Live worker processes", value=len(snapshot.worker_stats))
            yield from _worker_counters(snapshot.worker_stats)
        if snapshot.busy_hosts is not None:
            yield from _hosts(snapshot.busy_hosts)


def _gauge(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family


def _backlog(rows: list[OpenBatches], now: datetime) -> Iterator[Metric]:
    yield _gauge("imgsvc_open_batches", "Unfinished batches", "status", {row.status: row.batches for row in rows})
    assets = {"pending": sum(row.pending for row in rows), "processing": sum(row.processing for row in rows)}
    yield _gauge("imgsvc_open_assets", "Unfinished images", "status", assets)
    oldest = max(((now - row.oldest).total_seconds() for row in rows), default=0.0)
    yield GaugeMetricFamily("imgsvc_oldest_open_batch_seconds", "Age of the oldest unfinished batch", value=oldest)


def _worker_counters(worker_stats: StatsByWorker) -> Iterator[Metric]:
    images = CounterMetricFamily("imgsvc_images", "Images processed", labels=["worker", "outcome", "code"])
    transfer = CounterMetricFamily(
        "imgsvc_image_bytes", "Bytes of the images that succeeded", labels=["worker", "direction"]
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


def _hosts(hosts: Sequence[BusyHost]) -> Iterator[Metric]:
    def gauge(name: str, text: str, values: Iterable[float]) -> Metric:
        return _gauge(name, text, "host", dict(zip((host.name for host in hosts), values, strict=True)))

    yield gauge("imgsvc_host_limit", "Fetches that may be in flight at a busy host", (host.limit for host in hosts))
    yield gauge("imgsvc_host_in_flight", "Fetches in flight at a busy host", (host.in_flight for host in hosts))
    yield gauge(
        "imgsvc_host_paused_seconds",
        "Seconds left of a pause that a host asked for",
        (host.paused_for for host in hosts),
    )
    yield gauge(
        "imgsvc_host_away_seconds", "Seconds for which a host has not answered", (host.away_for for host in hosts)
    )


class RequestTimes:
    """Measures the duration of every response by operation and status, including long polls and streams."""

    def __init__(self, app: ASGIApp, registry: CollectorRegistry) -> None:
        self.app = app
        self._times = Histogram(
            "imgsvc_http_request_duration_seconds",
            "Time until the end of the response",
            ["operation", "status"],
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=registry,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = perf_counter(), 500

        async def send_and_note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_and_note_status)
        finally:
            operation = getattr(scope.get("route"), "operation_id", None) or "none"
            self._times.labels(operation, str(status)).observe(perf_counter() - started)

"""Every call of the API as a generator of actions (see `actions.py`); reading calls and uploads are retried."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx

from imgsvc.client.actions import Call, Emit, Pause, RetryBudget, Send, read_chunk, send
from imgsvc.client.batches import Batch, BatchPage, Progress, Validation
from imgsvc.client.deliveries import Delivery, DeliveryList
from imgsvc.client.errors import ConnectionLost, StillRunning
from imgsvc.client.events import EventReader
from imgsvc.client.problems import ApiModel
from imgsvc.client.products import ProductPage
from imgsvc.client.responses import check_response, parse
from imgsvc.client.uploads import Source, upload_options

M = TypeVar("M", bound=ApiModel)

LONG_POLL = 20
"""Seconds that the server may delay a response while nothing changes."""
_MIN_PAUSE = 0.1
"""Seconds between two polls of a batch, for proxies that answer a long poll at once."""
_RECONNECT_AFTER = 2.0
"""Seconds until an event stream that ended is reopened, unless the server sends another number."""
_BATCHES_PER_PAGE, _PRODUCTS_PER_PAGE = 100, 500
_BATCHES_PATH = "/v1/batches"

Statuses = str | Iterable[str] | None


@dataclass(frozen=True, slots=True)
class Calls:
    """The calls of the API at `url`; the URL appears only in error messages here."""

    url: str
    retries: RetryBudget

    def submit(self, source: Source | None, idempotency_key: str | None, fields: Mapping[str, object]) -> Call[Batch]:
        """Upload one batch; each retry sends the same idempotency key."""
        key = {"Idempotency-Key": idempotency_key or str(uuid4())}
        return self._upload(Batch, source, fields, key)

    def validate(self, source: Source | None, fields: Mapping[str, object]) -> Call[Validation]:
        return self._upload(Validation, source, {**fields, "validate_only": True}, {})

    def batch(self, batch: Batch | str) -> Call[Batch]:
        return self._get(Batch, path_of(batch))

    def batches(self, status: Statuses, catalogue: str | None) -> Call[None]:
        query: dict[str, Any] = {"limit": _BATCHES_PER_PAGE, **_status_filter(status)}
        if catalogue is not None:
            query["catalogue"] = catalogue
        while True:
            page = yield from self._get(BatchPage, _BATCHES_PATH, params=query)
            for batch in page.data:
                yield Emit(batch)
            if page.next is None:
                return
            query["after"] = page.next

    def products(self, batch: Batch | str, status: Statuses) -> Call[None]:
        after: int | None = -1
        while after is not None:
            query = {"limit": _PRODUCTS_PER_PAGE, "after": after, **_status_filter(status)}
            page = yield from self._get(ProductPage, f"{path_of(batch)}/products", params=query)
            for product in page.data:
                yield Emit(product)
            after = page.next

    def deliveries(self, batch: Batch | str) -> Call[list[Delivery]]:
        deliveries = yield from self._get(DeliveryList, f"{path_of(batch)}/deliveries")
        return deliveries.data

    def retry(self, batch: Batch | str, codes: Iterable[str]) -> Call[Batch]:
        return self._post_once(Batch, f"{path_of(batch)}/retry", json={"codes": list(codes)})

    def cancel(self, batch: Batch | str) -> Call[Batch]:
        return self._post_once(Batch, f"{path_of(batch)}/cancel")

    def delete(self, batch: Batch | str) -> Call[None]:
        check_response((yield from send(Send("DELETE", path_of(batch)))), self.url)

    def follow(self, batch: Batch | str, timeout: float | None) -> Call[None]:
        """Emit the batch at once and after each change, until it has ended."""
        deadline = float("inf") if timeout is None else monotonic() + timeout
        condition: dict[str, str] = {}
        wait: dict[str, float] = {}
        while True:
            began = monotonic()
            request = Send("GET", path_of(batch), {"headers": condition, "params": wait})
            retries = self.retries.limited_to(deadline - began)
            response = yield from retries.run(partial(self._send_checked, request, ""))
            if response.status_code != httpx.codes.NOT_MODIFIED:
                latest = parse(Batch, response.content, self.url)
                yield Emit(latest)
                if latest.has_ended:
                    return
                condition = {"If-None-Match": response.headers["ETag"]} if "ETag" in response.headers else {}
            remaining = deadline - monotonic()
            if remaining <= 0:
                raise StillRunning(f"{_id_of(batch)} was still running after {timeout:g} s.")
            wait = {"wait": round(min(LONG_POLL, remaining), 2)}
            yield Pause(min(remaining, max(0.0, began + _MIN_PAUSE - monotonic())))

    def events(self, batch: Batch | str) -> Call[None]:
        """Emit a snapshot at once and after changes; the last one is the final state."""
        reader = EventReader()
        last_data_at = monotonic()
        while True:
            headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": reader.id} if reader.id else {})
            request = Send("GET", f"{path_of(batch)}/events", {"headers": headers}, streamed=True)
            response = yield from self._send_retried(request, "text/event-stream")
            if response.status_code == httpx.codes.NO_CONTENT:
                return
            try:
                while data := (yield from read_chunk()):
                    last_data_at = monotonic()
                    for event in reader.feed(data):
                        if event.name in {"progress", "end"}:
                            yield Emit(parse(Progress, event.data, self.url))
                        if event.name == "end":
                            return
            except ConnectionLost:
                if monotonic() - last_data_at > self.retries.seconds:
                    raise
            # An incomplete event of the previous stream is dropped.
            reader = EventReader(id=reader.id, retry=reader.retry)
            yield Pause(_RECONNECT_AFTER if reader.retry is None else max(_MIN_PAUSE, reader.retry))

    def _upload(
        self, model: type[M], source: Source | None, fields: Mapping[str, object], headers: Mapping[str, str]
    ) -> Call[M]:
        with upload_options(source, fields) as options:
            options["headers"] = {**options.get("headers", {}), **headers}
            response = yield from self._send_retried(Send("POST", _BATCHES_PATH, options))
        return parse(model, response.content, self.url)

    def _get(self, model: type[M], path: str, **options: Any) -> Call[M]:
        response = yield from self._send_retried(Send("GET", path, options))
        return parse(model, response.content, self.url)

    def _post_once(self, model: type[M], path: str, **options: Any) -> Call[M]:
        """Send without retries: after a lost response, the caller must read the batch before repeating the call."""
        response = check_response((yield from send(Send("POST", path, options))), self.url)
        return parse(model, response.content, self.url)

    def _send_retried(self, request: Send, media_type: str = "") -> Call[httpx.Response]:
        return self.retries.run(partial(self._send_checked, request, media_type))

    def _send_checked(self, request: Send, media_type: str) -> Call[httpx.Response]:
        return check_response((yield from send(request)), self.url, media_type)


def path_of(batch: Batch | str) -> str:
    return f"{_BATCHES_PATH}/{quote(_id_of(batch) or '-', safe='')}"


def _id_of(batch: Batch | str) -> str:
    return batch.id if isinstance(batch, Batch) else batch


def _status_filter(status: Statuses) -> dict[str, list[str]]:
    return {"status": [status] if isinstance(status, str) else list(status)} if status else {}

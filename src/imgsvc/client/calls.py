"""Every call of the API as a flow. Reading calls, and uploads, are made again while what is in their way may pass."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx

from imgsvc.client.actions import Call, Emit, Pause, RetryBudget, Send, next_bytes, sent
from imgsvc.client.batches import Batch, BatchPage, Progress, Validation
from imgsvc.client.deliveries import Delivery, DeliveryList
from imgsvc.client.errors import ConnectionLost, StillRunning
from imgsvc.client.events import EventReader
from imgsvc.client.problems import Wire
from imgsvc.client.products import ProductPage
from imgsvc.client.responses import read, require
from imgsvc.client.uploads import Source, upload

W = TypeVar("W", bound=Wire)

LONG_POLL = 20
"""Seconds that the server may hold back an answer in which nothing has changed."""
_MIN_PAUSE = 0.1
"""Seconds between two looks at a batch, for when something on the way answers at once."""
_EVENTS_AGAIN = 2.0
"""Seconds after which a stream of events that ended is opened again, unless the server says another number."""
_BATCHES, _PRODUCTS = 100, 500
_UPLOADS = "/v1/batches"

Statuses = str | Iterable[str] | None


@dataclass(frozen=True, slots=True)
class Calls:
    """The calls at `url`, which is only named in errors here."""

    url: str
    patience: RetryBudget

    def submit(self, source: Source, idempotency_key: str | None, fields: Mapping[str, object]) -> Call[Batch]:
        """One batch, however often it is sent: the key is the same each time."""
        key = {"Idempotency-Key": idempotency_key or str(uuid4())}
        return self._uploaded(Batch, source, fields, key)

    def validate(self, source: Source, fields: Mapping[str, object]) -> Call[Validation]:
        return self._uploaded(Validation, source, {**fields, "validate_only": True}, {})

    def batch(self, batch: Batch | str) -> Call[Batch]:
        return self._got(Batch, path_of(batch))

    def batches(self, status: Statuses) -> Call[None]:
        query: dict[str, Any] = {"limit": _BATCHES, **_only(status)}
        while True:
            page = yield from self._got(BatchPage, _UPLOADS, params=query)
            for batch in page.data:
                yield Emit(batch)
            if page.next is None:
                return
            query["after"] = page.next

    def products(self, batch: Batch | str, status: Statuses) -> Call[None]:
        after: int | None = -1
        while after is not None:
            query = {"limit": _PRODUCTS, "after": after, **_only(status)}
            page = yield from self._got(ProductPage, f"{path_of(batch)}/products", params=query)
            for product in page.data:
                yield Emit(product)
            after = page.next

    def deliveries(self, batch: Batch | str) -> Call[list[Delivery]]:
        listed = yield from self._got(DeliveryList, f"{path_of(batch)}/deliveries")
        return listed.data

    def retry(self, batch: Batch | str, codes: Iterable[str]) -> Call[Batch]:
        return self._told(Batch, f"{path_of(batch)}/retry", json={"codes": list(codes)})

    def cancel(self, batch: Batch | str) -> Call[Batch]:
        return self._told(Batch, f"{path_of(batch)}/cancel")

    def delete(self, batch: Batch | str) -> Call[None]:
        require((yield from sent(Send("DELETE", path_of(batch)))), self.url)

    def follow(self, batch: Batch | str, timeout: float | None) -> Call[None]:
        """Gives the batch as it is, and after each change, until it has ended."""
        until = float("inf") if timeout is None else monotonic() + timeout
        known: dict[str, str] = {}
        wait: dict[str, float] = {}
        while True:
            began = monotonic()
            ask = Send("GET", path_of(batch), {"headers": known, "params": wait})
            patience = self.patience.within(until - began)
            answer = yield from patience.spent_on(partial(self._required, ask, ""))
            if answer.status_code != httpx.codes.NOT_MODIFIED:
                latest = read(Batch, answer.content, self.url)
                yield Emit(latest)
                if latest.has_ended:
                    return
                known = {"If-None-Match": answer.headers["ETag"]} if "ETag" in answer.headers else {}
            left = until - monotonic()
            if left <= 0:
                raise StillRunning(f"{_id_of(batch)} had not ended after {timeout:g} s; it goes on.")
            wait = {"wait": round(min(LONG_POLL, left), 2)}
            yield Pause(min(left, max(0.0, began + _MIN_PAUSE - monotonic())))

    def events(self, batch: Batch | str) -> Call[None]:
        """Gives a snapshot at once and after changes, until the one of the end."""
        reader = EventReader()
        heard = monotonic()
        while True:
            headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": reader.id} if reader.id else {})
            ask = Send("GET", f"{path_of(batch)}/events", {"headers": headers}, streamed=True)
            answer = yield from self._answered(ask, "text/event-stream")
            if answer.status_code == httpx.codes.NO_CONTENT:
                return
            try:
                while data := (yield from next_bytes()):
                    heard = monotonic()
                    for event in reader.feed(data):
                        if event.name in {"progress", "end"}:
                            yield Emit(read(Progress, event.data, self.url))
                        if event.name == "end":
                            return
            except ConnectionLost:
                if monotonic() - heard > self.patience.seconds:
                    raise
            # Half an event of the former stream counts for nothing.
            reader = EventReader(id=reader.id, retry=reader.retry)
            yield Pause(_EVENTS_AGAIN if reader.retry is None else max(_MIN_PAUSE, reader.retry))

    def _uploaded(
        self, model: type[W], source: Source, fields: Mapping[str, object], headers: Mapping[str, str]
    ) -> Call[W]:
        with upload(source, fields) as options:
            options["headers"] = {**options.get("headers", {}), **headers}
            answer = yield from self._answered(Send("POST", _UPLOADS, options))
        return read(model, answer.content, self.url)

    def _got(self, model: type[W], path: str, **options: Any) -> Call[W]:
        answer = yield from self._answered(Send("GET", path, options))
        return read(model, answer.content, self.url)

    def _told(self, model: type[W], path: str, **options: Any) -> Call[W]:
        """Sent once: whoever hears nothing looks at the batch first."""
        answer = require((yield from sent(Send("POST", path, options))), self.url)
        return read(model, answer.content, self.url)

    def _answered(self, ask: Send, media_type: str = "") -> Call[httpx.Response]:
        return self.patience.spent_on(partial(self._required, ask, media_type))

    def _required(self, ask: Send, media_type: str) -> Call[httpx.Response]:
        return require((yield from sent(ask)), self.url, media_type)


def path_of(batch: Batch | str) -> str:
    return f"{_UPLOADS}/{quote(_id_of(batch) or '-', safe='')}"


def _id_of(batch: Batch | str) -> str:
    return batch.id if isinstance(batch, Batch) else batch


def _only(status: Statuses) -> dict[str, list[str]]:
    return {"status": [status] if isinstance(status, str) else list(status)} if status else {}

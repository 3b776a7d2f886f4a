"""The client over HTTP."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import httpx
import stamina
from pydantic import ValidationError

from imgsvc import __version__
from imgsvc.client.errors import KeyRefused, Refused, ServerAway, UnexpectedAnswer
from imgsvc.client.wire import Batch, Product, ProductPage, Wire
from imgsvc.config import LOOPBACK

T = TypeVar("T", bound=Wire)

_LONG_POLL = 20
"""Seconds that the server may hold back an answer in which nothing has changed."""
_PAGE = 500


class Client:
    """Talks to the imgsvc at `url`; `timeout` is in seconds for each step of a request."""

    def __init__(self, url: str, *, api_key: str | None = None, timeout: float = 30) -> None:
        self.url = url.rstrip("/")
        authorization = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = httpx.Client(
            base_url=self.url,
            timeout=httpx.Timeout(timeout, read=timeout + _LONG_POLL),
            headers={"User-Agent": f"imgsvc-client/{__version__}", **authorization},
            trust_env=urlsplit(self.url).hostname not in LOOPBACK,  # a proxy has no way to this machine
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def submit(self, manifest: Path, fields: Mapping[str, str]) -> Batch:
        """Upload the CSV with the fields of `POST /v1/batches`.

        Raises:
            ClientError: it is not accepted; sending it again after ServerAway may make a second batch.
        """
        with manifest.open("rb") as file:
            answer = self._send("POST", "/v1/batches", files={"file": (manifest.name, file)}, data=dict(fields))
        return self._read(Batch, answer)

    def batch(self, batch_id: str) -> Batch:
        """The batch as it is now."""
        return self._read(Batch, self._send("GET", f"/v1/batches/{batch_id}"))

    def follow(self, batch_id: str, *, patience: float = 60) -> Iterator[Batch]:
        """The batch as it is now and after each change, until it has ended.

        A server that is away, overloaded or starting again is asked anew for `patience` seconds.
        """
        etag = ""
        while True:
            for attempt in stamina.retry_context(on=_may_pass, attempts=None, timeout=patience):
                with attempt:
                    known = {"If-None-Match": etag} if etag else {}
                    params = {"wait": _LONG_POLL} if etag else {}
                    answer = self._send("GET", f"/v1/batches/{batch_id}", headers=known, params=params)
            if answer.status_code == httpx.codes.NOT_MODIFIED:
                continue
            etag = answer.headers.get("ETag", "")
            batch = self._read(Batch, answer)
            yield batch
            if batch.has_ended:
                return

    def products(self, batch_id: str) -> Iterator[Product]:
        """The products in the order of the CSV, each with what became of its images; read page by page."""
        after: int | None = -1
        while after is not None:
            query = {"limit": _PAGE, "after": after}
            page = self._read(ProductPage, self._send("GET", f"/v1/batches/{batch_id}/products", params=query))
            yield from page.data
            after = page.next

    def save_output(self, batch_id: str, path: Path) -> None:
        """Write the CSV with the new column to `path`, which appears only when all of it has arrived."""
        arriving = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            with self._reachable(), self._http.stream("GET", f"/v1/batches/{batch_id}/output.csv") as answer:
                if answer.is_error:
                    answer.read()
                _refuse(answer)
                with arriving.open("wb") as file:
                    for part in answer.iter_bytes():
                        file.write(part)
            arriving.replace(path)
        finally:
            arriving.unlink(missing_ok=True)

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        with self._reachable():
            answer = self._http.request(method, path, **request)
        _refuse(answer)
        return answer

    @contextmanager
    def _reachable(self) -> Iterator[None]:
        try:
            yield
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise ServerAway(
                f"No imgsvc answers at {self.url} ({str(exc) or type(exc).__name__}). "
                "Start one with `imgsvc up`, or say where it is with --url or IMGSVC_URL."
            ) from exc

    def _read(self, model: type[T], answer: httpx.Response) -> T:
        try:
            return model.model_validate_json(answer.content)
        except ValidationError as exc:
            raise UnexpectedAnswer(f"What answers at {self.url} is no imgsvc.") from exc


def _refuse(answer: httpx.Response) -> None:
    if not answer.is_error:
        return
    is_problem = answer.headers.get("Content-Type", "").startswith("application/problem+json")
    refusal = KeyRefused if answer.status_code in {401, 403} else Refused
    raise refusal(answer.status_code, answer.json() if is_problem else {})


def _may_pass(error: Exception) -> bool:
    return isinstance(error, ServerAway) or (isinstance(error, Refused) and error.status in {429, 502, 503, 504})

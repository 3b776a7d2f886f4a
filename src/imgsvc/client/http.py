"""The client over HTTP."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import IO, Any, Self, TypeVar
from urllib.parse import quote, urlsplit

import httpx
import stamina
from pydantic import ValidationError

from imgsvc import __version__
from imgsvc.client.errors import ClientError, KeyRefused, Refused, ServerAway, UnexpectedAnswer, WrongSetup
from imgsvc.client.wire import Batch, Problem, Product, ProductPage, Wire
from imgsvc.loopback import is_loopback

T = TypeVar("T", bound=Wire)

_LONG_POLL = 20
"""Seconds that the server may hold back an answer in which nothing has changed."""
_LEAST_PAUSE = 0.1
"""Seconds between two looks at a batch, for when something on the way answers at once."""
_PAGE = 500


class Client:
    """Talks to the imgsvc at `url`; `timeout` is in seconds for each step of a request.

    Raises:
        WrongSetup: the URL, the key, or a proxy that the environment names cannot be used.
    """

    def __init__(self, url: str, *, api_key: str | None = None, timeout: float = 30) -> None:
        self.url = url.rstrip("/")
        try:
            self._http = httpx.Client(
                base_url=self.url,
                timeout=httpx.Timeout(timeout, read=timeout + _LONG_POLL),
                headers={"User-Agent": f"imgsvc-client/{__version__}", **_authorization(api_key)},
                trust_env=not is_loopback(urlsplit(self.url).hostname or ""),  # a proxy has no way to this machine
            )
        except (httpx.InvalidURL, ValueError, ImportError) as exc:  # ImportError: a SOCKS proxy
            raise WrongSetup(f"Cannot talk to {self.url}: {exc}") from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def submit(self, manifest: Path, fields: Mapping[str, str]) -> Batch:
        """Upload the CSV with the fields of `POST /v1/batches`.

        Raises:
            ClientError: it is not accepted; sending it again after ServerAway may make a second batch.
            OSError: the file cannot be read.
        """
        name = os.fsencode(manifest.name).decode(errors="replace")
        files = {"file": (name, manifest.read_bytes())}
        return self._read(Batch, self._send("POST", "/v1/batches", files=files, data=dict(fields)))

    def batch(self, batch_id: str) -> Batch:
        """The batch as it is now."""
        return self._read(Batch, self._send("GET", _path(batch_id)))

    def follow(self, batch_id: str, *, patience: float = 60) -> Iterator[Batch]:
        """The batch as it is now and after each change, until it has ended.

        A server that is away, overloaded or starting again is asked anew for `patience` seconds.
        """
        known: dict[str, str] = {}
        wait: dict[str, int] = {}
        while True:
            asked = monotonic()
            for attempt in stamina.retry_context(on=_may_pass, attempts=None, timeout=patience):
                with attempt:
                    answer = self._send("GET", _path(batch_id), headers=known, params=wait)
            if answer.status_code != httpx.codes.NOT_MODIFIED:
                batch = self._read(Batch, answer)
                yield batch
                if batch.has_ended:
                    return
                known = {"If-None-Match": answer.headers["ETag"]} if "ETag" in answer.headers else {}
            wait = {"wait": _LONG_POLL}
            sleep(max(0.0, asked + _LEAST_PAUSE - monotonic()))

    def products(self, batch_id: str) -> Iterator[Product]:
        """The products in the order of the CSV, each with what became of its images; read page by page."""
        after: int | None = -1
        while after is not None:
            query = {"limit": _PAGE, "after": after}
            page = self._read(ProductPage, self._send("GET", f"{_path(batch_id)}/products", params=query))
            yield from page.data
            after = page.next

    def save_output(self, batch_id: str, path: Path) -> None:
        """Write the CSV with the new column to `path`, where it appears only when all of it has arrived.

        Raises:
            ClientError: it cannot be had, or breaks off.
            OSError: it cannot be written.
        """
        with self._reachable(), self._http.stream("GET", f"{_path(batch_id)}/output.csv") as answer:
            if not answer.is_success:
                answer.read()
            self._require(answer)
            if not answer.headers.get("Content-Type", "").startswith("text/csv"):
                raise self._unexpected()
            with _arriving(path) as file:
                for part in answer.iter_bytes():
                    file.write(part)

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        with self._reachable():
            answer = self._http.request(method, path, **request)
        self._require(answer)
        return answer

    @contextmanager
    def _reachable(self) -> Iterator[None]:
        try:
            yield
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            reason = str(exc) or type(exc).__name__
            if "CERTIFICATE" in reason.upper():
                raise ServerAway(f"The connection to {self.url} is not safe: {reason}") from exc
            raise ServerAway(
                f"No imgsvc answers at {self.url} ({reason}). "
                "Start one with `imgsvc up`, or say where it is with --url or IMGSVC_URL."
            ) from exc

    def _require(self, answer: httpx.Response) -> None:
        """Raises what an answer means that is none of those asked for."""
        if answer.is_success or answer.status_code == httpx.codes.NOT_MODIFIED:
            return
        if not answer.is_error:  # a redirect, to a login page say
            raise self._unexpected()
        try:
            problem = Problem.model_validate_json(answer.content)
        except ValidationError:  # a page of something on the way
            problem = Problem()
        refusal = KeyRefused if answer.status_code in {401, 403} else Refused
        raise refusal(answer.status_code, problem)

    def _read(self, model: type[T], answer: httpx.Response) -> T:
        try:
            return model.model_validate_json(answer.content)
        except ValidationError as exc:
            raise self._unexpected() from exc

    def _unexpected(self) -> ClientError:
        return UnexpectedAnswer(f"What answers at {self.url} is no imgsvc.")


def _authorization(api_key: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}


def _path(batch_id: str) -> str:
    return f"/v1/batches/{quote(batch_id or '-', safe='')}"


@contextmanager
def _arriving(path: Path) -> Iterator[IO[bytes]]:
    """A file to write, which takes the place of `path` at the end of the block; pipes and devices are written to."""
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            yield file
        return
    target = path.resolve()  # of a link, what it leads to
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _may_pass(error: Exception) -> bool:
    return isinstance(error, ServerAway) or (isinstance(error, Refused) and error.status in {429, 502, 503, 504})

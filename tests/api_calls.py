"""What the tests of the API say to it, and a look at what is stored afterwards."""

import csv
import io
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, closing
from typing import Any

import httpx
from fastapi import FastAPI

from imgsvc.api.app import create_app
from imgsvc.config import Settings

WorkOff = Callable[[], Awaitable[None]]
HEADER = ("S. No.", "Product Name", "Input Image Urls")
CSV = {"Content-Type": "text/csv"}
NOTHING = {"batch": 0, "product": 0, "asset": 0}
ONE_ROW = "S. No.,Product Name,Input Image Urls\n1,Shoe,https://shop.example/a.jpg\n"


def catalogue(*rows: Sequence[str], header: Sequence[str] = HEADER, delimiter: str = ",") -> str:
    """A CSV of `rows` under the usual header."""
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerows([header, *rows])
    return text.getvalue()


async def upload(client: httpx.AsyncClient, text: str, **fields: Any) -> dict[str, Any]:
    """POST a CSV with its fields in the query string; gives the batch."""
    accepted = await client.post("/v1/batches", content=text, headers=CSV, params=fields)
    assert accepted.status_code == 202, accepted.text
    batch: dict[str, Any] = accepted.json()
    return batch


def problem(response: httpx.Response, status: int, kind: str | None = None) -> dict[str, Any]:
    """The body of a refusal, once it is sure that it is one as RFC 9457 describes it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert body["request_id"] == response.headers["x-request-id"]
    if kind is not None:
        assert body["type"] == f"urn:imgsvc:problem:{kind}"
    return body


def rows_stored(settings: Settings) -> dict[str, int]:
    """How many batches, products and assets the database has."""
    with closing(sqlite3.connect(settings.data_dir / "imgsvc.db")) as database:
        tables = ("batch", "product", "asset")
        return {table: database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}


def write(settings: Settings, statement: str, *values: Any) -> None:
    """Change the database behind the API's back."""
    with closing(sqlite3.connect(settings.data_dir / "imgsvc.db", timeout=10)) as database:
        database.execute(statement, values)
        database.commit()


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    """The API on other settings than the fixtures', with the application to look into."""
    app = create_app(settings)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client,
    ):
        yield app, client

"""Helpers for tests of the API: uploads, checks of problems, and access to the stored rows."""

import csv
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from imgsvc.api.app import create_app
from imgsvc.db.engine import open_sessions
from imgsvc.settings.server import Settings

DrainQueues = Callable[[], Awaitable[None]]
HEADER = ("S. No.", "Product Name", "Input Image Urls")
CSV = {"Content-Type": "text/csv"}
NOTHING = {"batch": 0, "product": 0, "asset": 0}
ONE_ROW = "S. No.,Product Name,Input Image Urls\n1,Shoe,https://shop.example/a.jpg\n"


def catalogue(*rows: Sequence[str], header: Sequence[str] = HEADER, delimiter: str = ",") -> str:
    """Return a CSV of `rows` with the usual header."""
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerows([header, *rows])
    return text.getvalue()


async def upload(client: httpx.AsyncClient, text: str, **fields: Any) -> dict[str, Any]:
    """POST a CSV with its fields in the query string, and return the batch."""
    accepted = await client.post("/v1/batches", content=text, headers=CSV, params=fields)
    assert accepted.status_code == 202, accepted.text
    batch: dict[str, Any] = accepted.json()
    return batch


def problem(response: httpx.Response, status: int, kind: str | None = None) -> dict[str, Any]:
    """Check that the response is a problem (RFC 9457), and return its body."""
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


async def rows_stored(settings: Settings) -> dict[str, int]:
    """Return the number of batches, products and assets in the database."""
    async with _database(settings) as connection:
        counts = {table: await connection.scalar(text(f"SELECT count(*) FROM {table}")) for table in NOTHING}
        return {table: int(count or 0) for table, count in counts.items()}


async def write(settings: Settings, statement: str, **values: Any) -> None:
    """Change the database directly; the statement refers to a value as `:name`."""
    async with _database(settings) as connection:
        await connection.execute(text(statement), values)


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[AsyncConnection]:
    sessions = open_sessions(settings.database)
    async with sessions.write() as session:
        yield await session.connection()
    await sessions.aclose()


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    """Yield the application for `settings`, and a client for it."""
    app = create_app(settings)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client,
    ):
        yield app, client

"""Reads response bodies within a size limit and a memory budget."""

import asyncio
from contextlib import suppress
from io import BytesIO

import httpx

from imgsvc.adapters.http.transport import declared_length, next_chunk
from imgsvc.errors import BodyTooLarge, BudgetExhausted, FetchError
from imgsvc.services.ports import MemoryBudget

FIRST_RESERVATION = 2**16  # bytes reserved at first, whatever the declared length; doubled while the body grows
MAX_EXCERPT = 2048  # bytes
EXCERPT_TIMEOUT = 1.0  # seconds


async def read_body(response: httpx.Response, budget: MemoryBudget, *, limit: int) -> bytes:
    """Read the whole body, and reserve memory as its bytes arrive.

    Raises:
        BodyTooLarge: more than `limit` bytes were declared or sent.
        BudgetExhausted: `budget` could not grow to the bytes that have arrived.
        FetchError: the connection broke.
    """
    declared = declared_length(response.headers) or 0
    expected = declared if 0 < declared <= limit else limit
    granted = _reserve(budget, min(FIRST_RESERVATION, expected) if declared <= limit else declared, limit=limit)
    body = BytesIO()  # `getvalue` hands over its buffer without a copy, so the body is in memory once
    while chunk := await next_chunk(response):
        size = body.tell() + len(chunk)
        if size > granted:
            granted = _reserve(budget, max(size, min(2 * granted, expected)), limit=limit)
        body.write(chunk)
    return body.getvalue()


def _reserve(budget: MemoryBudget, size: int, *, limit: int) -> int:
    """Reserve `size` bytes in all, and return `size`."""
    if size > limit:
        raise BodyTooLarge
    if not budget.grow(size):
        raise BudgetExhausted(size)
    return size


async def read_excerpt(response: httpx.Response) -> bytes:
    """Read at most the first 2 kB of the body, for at most a second: only the status matters."""
    excerpt = bytearray()
    with suppress(TimeoutError, FetchError):
        async with asyncio.timeout(EXCERPT_TIMEOUT):
            while len(excerpt) < MAX_EXCERPT and (chunk := await next_chunk(response)):
                excerpt += chunk
    return bytes(excerpt[:MAX_EXCERPT])

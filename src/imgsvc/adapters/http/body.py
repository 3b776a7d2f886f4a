"""Reads the body of an answer, within its limit and the memory that it is granted."""

import asyncio
from contextlib import suppress
from io import BytesIO

import httpx

from imgsvc.adapters.http.transport import declared_length, next_piece
from imgsvc.errors import BodyTooLarge, BudgetExhausted, FetchError
from imgsvc.services.ports import MemoryBudget

FIRST_ROOM = 2**16  # bytes to reserve at first, whatever is announced; doubled while the body grows
MAX_EXCERPT = 2048  # bytes
EXCERPT_TIMEOUT = 1.0  # seconds


async def read_body(response: httpx.Response, budget: MemoryBudget, *, limit: int) -> bytes:
    """Read all of the body; memory is reserved as its bytes come.

    Raises:
        BodyTooLarge: more than `limit` bytes, announced or sent.
        BudgetExhausted: `room` could not grow to what has come.
        FetchError: it broke off.
    """
    declared = declared_length(response.headers) or 0
    most = declared if 0 < declared <= limit else limit
    granted = _reserve(budget, min(FIRST_ROOM, most) if declared <= limit else declared, limit=limit)
    body = BytesIO()  # gives its buffer away without a copy: the body is in memory once
    while piece := await next_piece(response):
        size = body.tell() + len(piece)
        if size > granted:
            granted = _reserve(budget, max(size, min(2 * granted, most)), limit=limit)
        body.write(piece)
    return body.getvalue()


def _reserve(budget: MemoryBudget, size: int, *, limit: int) -> int:
    """Make room for `size` bytes in all, and return that size."""
    if size > limit:
        raise BodyTooLarge
    if not budget.grow(size):
        raise BudgetExhausted(size)
    return size


async def excerpt(response: httpx.Response) -> bytes:
    """Read the first 2 kB of the body, as far as they come within a second: what counts is the status."""
    text = bytearray()
    with suppress(TimeoutError, FetchError):
        async with asyncio.timeout(EXCERPT_TIMEOUT):
            while len(text) < MAX_EXCERPT and (piece := await next_piece(response)):
                text += piece
    return bytes(text[:MAX_EXCERPT])

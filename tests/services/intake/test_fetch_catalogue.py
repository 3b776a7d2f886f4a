"""Catalogues are fetched a few at once, and API keys take turns."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from imgsvc.errors import FetchError, InvalidUpload, NotModified, StorageError
from imgsvc.services.intake.fetch_catalogue import SLOTS, CatalogueFetcher
from imgsvc.services.ports import FetchedFile, Validators
from support.lanes import until

FILE = FetchedFile("shop.csv", "text/csv", Validators(None, None, "0" * 64))


class HeldOrigin:
    """The port `FileOrigin`: its downloads end when the test sets `end`."""

    def __init__(self, error: Exception | None = None) -> None:
        self.end = asyncio.Event()
        self.urls: list[str] = []
        self._error = error

    async def download(
        self, url: str, write: Callable[[bytes], Awaitable[object]], validators: Validators | None = None
    ) -> FetchedFile:
        self.urls.append(url)
        await write(b"x")
        if self._error:
            raise self._error
        await self.end.wait()
        return FILE


async def ignore(_chunk: bytes) -> None:
    """Keep nothing."""


async def test_slow_servers_of_one_key_leave_fetches_to_others() -> None:
    origin = HeldOrigin()
    fetcher = CatalogueFetcher(origin)
    async with asyncio.TaskGroup() as tasks:
        for number in range(SLOTS * 2):
            tasks.create_task(fetcher.fetch(f"https://a.example/{number}", ignore, api_key_id="key_a"))
        await until(lambda: len(origin.urls) >= SLOTS * 3 // 4)
        tasks.create_task(fetcher.fetch("https://b.example/", ignore, api_key_id="key_b"))
        await until(lambda: "https://b.example/" in origin.urls)
        assert len(origin.urls) == SLOTS * 3 // 4 + 1
        origin.end.set()
    assert len(origin.urls) == SLOTS * 2 + 1


@pytest.mark.parametrize("error", [FetchError(), NotModified(), StorageError()], ids=lambda error: type(error).__name__)
async def test_a_fetch_that_fails_gives_its_turn_back(error: Exception) -> None:
    fetcher = CatalogueFetcher(HeldOrigin(error))
    expected = InvalidUpload if isinstance(error, FetchError) else type(error)
    for _ in range(SLOTS + 1):
        with pytest.raises(expected):
            await fetcher.fetch("https://a.example/", ignore, api_key_id="key_a")

"""The limit of concurrent posts to one host: a host that hangs occupies two of a worker's jobs, not all of them."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from imgsvc.domain.hosts import host_of
from imgsvc.errors import EndpointBusy


class PerHostLimit:
    """A limit of `limit` concurrent posts to each host in this process."""

    def __init__(self, limit: int = 2) -> None:
        self._limit = limit
        self._used: Counter[str] = Counter()

    @contextmanager
    def slot(self, url: str) -> Iterator[None]:
        """Hold one of the slots of the host of `url` until the block ends.

        Raises:
            EndpointBusy: all slots are in use; try again later.
        """
        host = host_of(url)
        if self._used[host] >= self._limit:
            raise EndpointBusy(f"{self._limit} webhooks are being posted to {host}")
        self._used[host] += 1
        try:
            yield
        finally:
            self._used[host] -= 1
            if not self._used[host]:
                del self._used[host]

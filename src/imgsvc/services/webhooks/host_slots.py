"""Turns at posting webhooks: a host that hangs keeps two of a worker's jobs busy, not all of them."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from imgsvc.domain.addresses import parse_literal
from imgsvc.errors import EndpointBusy


def host_of(url: str) -> str:
    """The server that a URL leads to, with its port, however both are spelt."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    port = parts.port or {"https": 443}.get(parts.scheme.lower(), 80)
    return f"{parse_literal(host) or host}:{port}"


class PerHostLimit:
    """At most `most` posts to one host at a time in this process."""

    def __init__(self, most: int = 2) -> None:
        self._most = most
        self._posting: Counter[str] = Counter()

    @contextmanager
    def take(self, url: str) -> Iterator[None]:
        """Hold a turn at the host of `url` until the block ends.

        Raises:
            EndpointBusy: all are taken; come back later.
        """
        host = host_of(url)
        if self._posting[host] >= self._most:
            raise EndpointBusy(f"{self._most} webhooks are being posted to {host}")
        self._posting[host] += 1
        try:
            yield
        finally:
            self._posting[host] -= 1
            if not self._posting[host]:
                del self._posting[host]

"""How both clients set httpx up."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx

from imgsvc import __version__
from imgsvc.client.calls import LONG_POLL
from imgsvc.client.errors import ConfigurationError
from imgsvc.process.loopback import is_loopback


@contextmanager
def http_options(url: str, api_key: str | None, timeout: float) -> Iterator[dict[str, Any]]:
    """The options of httpx's clients, which are made inside the block.

    Raises:
        ConfigurationError: the URL, the key, or a proxy that the environment names cannot be used.
    """
    try:
        parts = urlsplit(url)
        is_here = is_loopback(parts.hostname or "")
        yield {
            "base_url": url,
            "timeout": httpx.Timeout(timeout, read=timeout + LONG_POLL),
            "headers": {
                "User-Agent": f"imgsvc-client/{__version__}",
                **({"Authorization": f"Bearer {api_key}"} if api_key else {}),
            },
            "trust_env": not is_here,  # a proxy has no way to this machine
            "verify": not (is_here and parts.scheme == "http"),  # authorities take 30 ms to load
        }
    except (httpx.InvalidURL, ValueError, ImportError) as exc:  # ImportError: a SOCKS proxy
        raise ConfigurationError(f"Cannot talk to {url}: {exc}") from exc

"""The options of httpx for both clients."""

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
    """Yield the options of an httpx client, which must be created inside the block.

    Raises:
        ConfigurationError: the URL, the API key or a proxy of the environment cannot be used.
    """
    try:
        parts = urlsplit(url)
        is_local = is_loopback(parts.hostname or "")
        yield {
            "base_url": url,
            "timeout": httpx.Timeout(timeout, read=timeout + LONG_POLL),
            "headers": {
                "User-Agent": f"imgsvc-client/{__version__}",
                **({"Authorization": f"Bearer {api_key}"} if api_key else {}),
            },
            "trust_env": not is_local,  # a proxy cannot reach this machine
            "verify": not (is_local and parts.scheme == "http"),  # loading certificate authorities takes 30 ms
        }
    except (
        httpx.InvalidURL,
        ValueError,
        ImportError,
    ) as exc:  # ImportError: a SOCKS proxy needs a package that is not installed
        raise ConfigurationError(f"Cannot connect to {url}: {exc}") from exc

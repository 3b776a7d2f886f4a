"""Builds the fetcher from the settings: limits, allowed addresses, trusted certificates, proxy."""

import re
import ssl
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import httpx

from imgsvc.adapters.http.fetcher import EgressPolicy, Fetcher, FetchLimits
from imgsvc.errors import StartupError
from imgsvc.settings.server import Settings

DEFAULT_PORTS = {"redis": 6379, "rediss": 6379, "postgresql+asyncpg": 5432}


MIN_CATALOGUE_SILENCE = 60
"""Seconds that the server of a catalogue may be silent: many shops make the whole feed before its first byte."""
MAX_CATALOGUE_TIME = 600
"""Seconds that fetching a catalogue may take: 64 MiB at 112 kB/s."""


def open_fetcher(settings: Settings, limits: FetchLimits | None = None) -> Fetcher:
    """Build the fetcher, by default with the limits of images; call this inside the running event loop.

    Raises:
        StartupError: `ca_file` contains no certificates.
    """
    return Fetcher(
        limits=limits or fetch_limits(settings),
        egress=egress_policy(settings),
        user_agent=settings.user_agent,
        tls=tls_context(settings.ca_file),
    )


def fetch_limits(settings: Settings) -> FetchLimits:
    return FetchLimits(
        connect_timeout=settings.connect_timeout,
        dns_timeout=settings.dns_timeout,
        read_timeout=settings.read_timeout,
        total_timeout=settings.total_timeout,
        max_body_bytes=settings.max_image_bytes,
        max_redirects=settings.max_redirects,
        webhook_timeout=settings.webhook_timeout,
    )


def catalogue_limits(settings: Settings) -> FetchLimits:
    """Return the limits of catalogues, which are larger than images and may be made on request."""
    return replace(
        fetch_limits(settings),
        read_timeout=max(settings.read_timeout, MIN_CATALOGUE_SILENCE),
        total_timeout=MAX_CATALOGUE_TIME,
        max_body_bytes=settings.max_upload_bytes,
    )


def egress_policy(settings: Settings) -> EgressPolicy:
    """Return the policy: our own ports on this machine stay closed, even if loopback is allowed for origins."""
    ports = [port for url in (settings.redis_url, settings.database) for port in _ports_in(url)]
    return EgressPolicy(
        allowed_networks=settings.allowed_networks,
        own_ports=(settings.port, *ports),
        proxy=settings.proxy or None,
        downgrade=settings.follow_to_http,
    )


def _ports_in(url: str) -> list[int]:
    """Return the ports of `url`, including those in its query: `?host=db:5433`, `?host=db&port=5433`."""
    parts = urlsplit(url)
    values = [value for name, value in parse_qsl(parts.query) if name in {"host", "port"}]
    in_query = [int(digits) for digits in re.findall(r"(?:^|[:,])([0-9]{1,5})(?=,|$)", ",".join(values))]
    port = parts.port or (None if in_query else DEFAULT_PORTS.get(parts.scheme))
    return in_query + ([port] if port else [])


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Return a context that trusts the certificate authorities of httpx, and those in `ca_file`.

    Raises:
        StartupError: `ca_file` cannot be read as certificates.
    """
    tls = httpx.create_ssl_context(trust_env=False)
    if ca_file:
        try:
            tls.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as exc:
            raise StartupError(
                f"IMGSVC_CA_FILE: {ca_file} is not a readable PEM file of certificates ({exc})."
            ) from exc
    return tls

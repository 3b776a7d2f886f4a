"""The blame for a failed fetch: errors that say something about the host, and errors that may be the image's."""

from enum import Enum, auto

from imgsvc.errors import (
    RETRYABLE_STATUSES,
    AssetError,
    BlockedAddress,
    ConnectError,
    ConnectTimeout,
    DnsError,
    HostNotFound,
    HttpStatusError,
    InvalidUrl,
    ReadTimeout,
    TlsError,
    TotalTimeout,
)

HOST_STATUSES = frozenset({429, 502, 503, 504, 508, 509, 520, 521, 522, 523, 524, 529, 530})
"""Statuses that say nothing about the URL: gateways without a server behind them, and limits. 508, 509: cPanel and
CloudLinux; 520 and above: Cloudflare."""


class Says(Enum):
    """The meaning of the end of a fetch for its host."""

    ANSWERED = auto()
    """It works, whatever became of the image."""
    NOTHING = auto()
    """No request arrived: a refused address, an unknown name, an untrusted certificate."""
    OVERLOADED = auto()
    """The host has too much to do, or this URL has a fault of its own."""
    UNAVAILABLE = auto()
    """The host takes no requests, or no more of ours."""


def meaning(error: AssetError, *, headers_arrived: bool) -> Says:
    """Return what `error` says about the host; with the headers, the host has answered."""
    if isinstance(error, HttpStatusError):
        return _meaning_of_status(error.http_status)
    if isinstance(error, BlockedAddress | InvalidUrl | HostNotFound | TlsError):
        return Says.NOTHING
    if isinstance(error, ConnectTimeout | DnsError | ConnectError) and not headers_arrived:
        return Says.UNAVAILABLE
    return Says.OVERLOADED if error.retryable else Says.ANSWERED


def _meaning_of_status(status: int | None) -> Says:
    if status in HOST_STATUSES:
        return Says.UNAVAILABLE
    return Says.OVERLOADED if status in RETRYABLE_STATUSES else Says.ANSWERED


def is_timeout(error: AssetError) -> bool:
    return isinstance(error, ConnectTimeout | ReadTimeout | TotalTimeout)


def sets_rate(error: AssetError) -> bool:
    """Return whether `error` is how hosts refuse more requests per second than they allow."""
    return isinstance(error, HttpStatusError) and error.http_status in {429, 503}


def is_limit(error: AssetError) -> bool:
    """Return whether `error` is about who asks, not what for."""
    return isinstance(error, HttpStatusError) and error.http_status == 429

"""Quotas of an API key: a client that floods the service must not crowd out the others."""

from dataclasses import dataclass

from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.queries import batches as queries
from imgsvc.domain.rate_limit import RateLimit
from imgsvc.errors import TooMany
from imgsvc.services.ports import RateLimiter

POSTS_PER_MINUTE = 30
"""Test events and redeliveries per API key; legitimate use needs only a few."""
RETRY_AFTER = 10
"""Seconds until a key with too much open work may try again."""


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """Limits per API key: uploads per minute, and unfinished batches and images."""

    uploads_per_minute: int
    open_batches: int
    open_images: int


async def admit_upload(api_key_id: str, *, limits: KeyLimits, rate_limiter: RateLimiter) -> RateLimit | None:
    """Count an upload against the rate limit; return None while the rate limiter is unavailable.

    Raises:
        TooMany: the key is over its limit.
    """
    rate = await rate_limiter.take("uploads", api_key_id, per_minute=limits.uploads_per_minute)
    if rate and not rate.granted:
        raise TooMany(
            f"More than {rate.limit:,} uploads in a minute (setting IMGSVC_UPLOADS_PER_MINUTE).",
            retry_after=rate.reset,
            headers=rate.headers,
        )
    return rate


async def admit_webhook(api_key_id: str, *, rate_limiter: RateLimiter) -> None:
    """Count a webhook that a key asks to have posted now.

    Raises:
        TooMany: the key is over its limit.
    """
    rate = await rate_limiter.take("webhooks", api_key_id, per_minute=POSTS_PER_MINUTE)
    if rate and not rate.granted:
        detail = f"More than {rate.limit:,} test events and redeliveries in a minute."
        raise TooMany(detail, retry_after=rate.reset, headers=rate.headers)


async def check_quota(session: AsyncSession, api_key_id: str, *, limits: KeyLimits | None) -> None:
    """Raise TooMany when a key has too much open work; without `limits` it never has.

    Open work is counted in the database, not in Redis, which may have been unavailable. An upload may exceed the limit:
    the number of its images is not checked.
    """
    if limits is None:
        return
    batches, images = await queries.open_work(session, api_key_id)
    if batches >= limits.open_batches:
        raise TooMany(
            f"{batches:,} batches are unfinished (setting IMGSVC_MAX_OPEN_BATCHES).",
            retry_after=RETRY_AFTER,
            headers={},
        )
    if images >= limits.open_images:
        raise TooMany(
            f"{images:,} images are unfinished (setting IMGSVC_MAX_OPEN_IMAGES).",
            retry_after=RETRY_AFTER,
            headers={},
        )

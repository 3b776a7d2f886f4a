"""Whether an API key may upload now: one that floods us must not take the place of the others."""

from dataclasses import dataclass

from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.queries import batches as queries
from imgsvc.domain.rate_limit import RateLimit
from imgsvc.errors import TooMany
from imgsvc.services.ports import RateLimiter

POSTS_PER_MINUTE = 30
"""Test events and redeliveries of one API key: what they are for is done with a few."""
RETRY_AFTER = 10
"""Seconds after which a key that has too much open may ask again."""


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """What one API key may have: uploads in a minute, and batches and images that are not done at one time."""

    uploads_per_minute: int
    open_batches: int
    open_images: int


async def admit_upload(api_key_id: str, *, limits: KeyLimits, rates: RateLimiter) -> RateLimit | None:
    """Count an upload; None while nothing counts them.

    Raises:
        TooMany: this key has to wait.
    """
    rate = await rates.take("uploads", api_key_id, per_minute=limits.uploads_per_minute)
    if rate and not rate.granted:
        raise TooMany(
            f"More than {rate.most:,} uploads in a minute (setting IMGSVC_UPLOADS_PER_MINUTE).",
            retry_after=rate.reset,
            headers=rate.headers,
        )
    return rate


async def admit_webhook(api_key_id: str, *, rates: RateLimiter) -> None:
    """Count a webhook that a key wants posted now; raises TooMany."""
    rate = await rates.take("webhooks", api_key_id, per_minute=POSTS_PER_MINUTE)
    if rate and not rate.granted:
        detail = f"More than {rate.most:,} webhooks asked for in a minute."
        raise TooMany(detail, retry_after=rate.reset, headers=rate.headers)


async def check_quota(session: AsyncSession, api_key_id: str, *, limits: KeyLimits) -> None:
    """Raises TooMany when a key has too much open.

    What is open is looked up, not counted: the database knows it, also when Redis was away. An upload may exceed it,
    for only its CSV says how many images it has.
    """
    batches, images = await queries.open_work(session, api_key_id)
    if batches >= limits.open_batches:
        raise TooMany(
            f"{batches:,} batches are not done yet (setting IMGSVC_MAX_OPEN_BATCHES).",
            retry_after=RETRY_AFTER,
            headers={},
        )
    if images >= limits.open_images:
        raise TooMany(
            f"{images:,} images are not done yet (setting IMGSVC_MAX_OPEN_IMAGES).",
            retry_after=RETRY_AFTER,
            headers={},
        )

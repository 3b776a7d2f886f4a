"""Rate limits, counted in Redis, so that all API processes share the counts."""

from time import time

from arq.connections import ArqRedis
from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from imgsvc.adapters.redis.replies import in_time, reply
from imgsvc.domain.rate_limit import RateLimit
from imgsvc.errors import QueueUnavailable
from imgsvc.logs import get_logger

log = get_logger(__name__)

PREFIX = "imgsvc:rates"


class RedisRateLimiter:
    """The port `RateLimiter` on Redis; it shares the connections of the queue."""

    def __init__(self, redis: ArqRedis, *, timeout: float) -> None:
        """`timeout`: seconds after which an action is allowed without being counted."""
        storage = RedisStorage(
            "async+redis://",
            implementation="redispy",
            key_prefix=PREFIX,
            connection_pool=redis.connection_pool,  # type: ignore[arg-type]  # documented, but missing in its type
        )
        self._timeout = timeout
        self._limiter = SlidingWindowCounterRateLimiter(storage)

    async def take(self, action: str, api_key_id: str, *, per_minute: int) -> RateLimit | None:
        item = RateLimitItemPerMinute(per_minute)
        try:
            async with in_time(self._timeout):
                granted = await reply(self._limiter.hit(item, action, api_key_id))
                stats = await reply(self._limiter.get_window_stats(item, action, api_key_id))
        except QueueUnavailable as exc:
            log.warning("rate_limit_not_counted", what=action, error=str(exc))
            return None
        seconds = max(0.0, stats.reset_time - time())
        return RateLimit(action, granted=granted, limit=per_minute, remaining=stats.remaining, reset=seconds)

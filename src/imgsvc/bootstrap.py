"""Builds the resources of a process from the settings, and closes them in reverse order."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

from imgsvc.adapters.http.egress import open_fetcher
from imgsvc.adapters.http.fetcher import Fetcher
from imgsvc.adapters.redis.host_board import RedisHostBoard
from imgsvc.adapters.redis.queue import CONTROL_QUEUE, ArqQueue, open_redis
from imgsvc.adapters.redis.rate_limits import RedisRateLimiter
from imgsvc.adapters.sandbox.pool import SandboxPool
from imgsvc.adapters.storage.open_storage import StorageBackend, open_storage
from imgsvc.db import migrations
from imgsvc.db.engine import STATEMENT_TIMEOUT, Sessions, open_sessions
from imgsvc.domain.imaging.compress import CodecLimits, prepare_pillow
from imgsvc.domain.manifest.read_csv import ManifestLimits
from imgsvc.errors import DatabaseUnavailable, StartupError
from imgsvc.logs import get_logger
from imgsvc.process.loopback import is_loopback
from imgsvc.process.private_files import make_private
from imgsvc.services.access.api_keys import list_keys
from imgsvc.services.access.links import Links
from imgsvc.services.batches.finish import Retention
from imgsvc.services.clock import Clock, utc_now
from imgsvc.services.codec.pool import CodecPool
from imgsvc.services.codec.watchdog import Watchdog
from imgsvc.services.intake.quotas import KeyLimits
from imgsvc.services.processing.fetch import Fetching
from imgsvc.services.processing.lane_policy import LanePolicy
from imgsvc.services.processing.process_asset import AssetProcessor
from imgsvc.services.processing.retry_policy import RetryPolicy
from imgsvc.services.throttling.fair_semaphore import FairSemaphore
from imgsvc.services.throttling.host_limiter import HostLimiter
from imgsvc.services.throttling.host_sharing import open_sharing
from imgsvc.services.webhooks.host_slots import PerHostLimit
from imgsvc.services.webhooks.send import WebhookSender
from imgsvc.settings.server import Settings

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Resources:
    """The resources that every process opens."""

    settings: Settings
    sessions: Sessions
    storage: StorageBackend
    queue: ArqQueue
    fetcher: Fetcher
    rate_limiter: RedisRateLimiter
    host_board: RedisHostBoard
    links: Links
    sender: WebhookSender
    clock: Clock

    @property
    def key_limits(self) -> KeyLimits:
        settings = self.settings
        return KeyLimits(settings.uploads_per_minute, settings.max_open_batches, settings.max_open_images)

    @property
    def retention(self) -> Retention:
        retention = self.settings.retention
        return Retention(
            links=self.links,
            keep_for=None if retention is None else timedelta(seconds=retention),
            clean_up_after=timedelta(seconds=self.settings.tidy_after),
        )


@asynccontextmanager
async def open_resources(settings: Settings, *, clock: Clock = utc_now) -> AsyncIterator[Resources]:
    """Open all resources. None connects before its first use, so an unavailable one does not stop the others."""
    async with AsyncExitStack() as stack:
        sessions = open_database(settings)
        stack.push_async_callback(sessions.aclose)
        timeout = settings.redis_timeout
        redis = open_redis(settings.redis_url, queue_name=CONTROL_QUEUE, timeout=timeout)
        # Limits have less time: uploads and lanes that wait for Redis do more harm than a few that are not counted.
        queue, rate_limiter = ArqQueue(redis, timeout=timeout), RedisRateLimiter(redis, timeout=timeout / 4)
        host_board = RedisHostBoard(redis, timeout=timeout / 4)
        stack.push_async_callback(queue.aclose)
        fetcher = open_fetcher(settings)
        stack.push_async_callback(fetcher.aclose)
        storage = open_storage(settings.storage)
        links, sender = Links(settings.public_base, settings.media_url.rstrip("/")), _webhook_sender(settings, fetcher)
        yield Resources(settings, sessions, storage, queue, fetcher, rate_limiter, host_board, links, sender, clock)


def _webhook_sender(settings: Settings, fetcher: Fetcher) -> WebhookSender:
    """Build the sender. For batches made without an API key, the secret in the settings overrides the database's."""
    secret = settings.webhook_secret
    secrets = (secret.get_secret_value(),) if secret else ()
    return WebhookSender(
        endpoint=fetcher, host_limit=PerHostLimit(), schedule=settings.webhook_schedule, secrets=secrets
    )


@asynccontextmanager
async def open_asset_processor(
    resources: Resources, *, on_overrun: Callable[[], None] = lambda: None
) -> AsyncIterator[AssetProcessor]:
    """Open what a worker needs beyond `resources`: codec threads, the sandbox, and the limits on work in flight.

    `on_overrun` is called when a codec thread is stuck.
    """
    settings, weights = resources.settings, resources.settings.key_weights
    limits = CodecLimits(
        max_pixels=settings.max_pixels,
        max_frames=settings.max_frames,
        max_animation_pixels=settings.max_animation_pixels,
    )
    prepare_pillow(limits)
    async with AsyncExitStack() as stack:
        watchdog = await stack.enter_async_context(Watchdog(settings.codec_timeout))
        sandbox = SandboxPool(limits=limits, memory=settings.quarantine_bytes, watchdog=watchdog)
        stack.push_async_callback(sandbox.aclose)
        codec = CodecPool(
            threads=settings.codec_threads,
            pixels=settings.codec_pixels,
            limits=limits,
            sandbox=sandbox,
            watchdog=watchdog,
            on_overrun=on_overrun,
            weights=weights,
        )
        stack.push_async_callback(codec.aclose)
        sharing = await stack.enter_async_context(open_sharing(resources.host_board))
        fetching = Fetching(
            origin=resources.fetcher,
            hosts=HostLimiter(
                maximum=settings.max_fetches_per_host, patience=settings.host_patience, weights=weights, sharing=sharing
            ),
            fetches=FairSemaphore(settings.max_fetches, max_held_per_free=3, weights=weights),
            memory=FairSemaphore(
                max(settings.fetch_buffer_bytes, settings.max_image_bytes), max_held_per_free=3, weights=weights
            ),
        )
        yield AssetProcessor(
            fetching=fetching,
            storage=resources.storage,
            codec=codec,
            retries=RetryPolicy(settings.max_attempts, give_up_after=timedelta(seconds=settings.give_up_after)),
            clock=resources.clock,
        )


def open_database(settings: Settings, *, statement_timeout: float | None = STATEMENT_TIMEOUT) -> Sessions:
    """Open the database of the settings, without connecting yet."""
    _protect_data(settings)
    limit = settings.database_connections
    return open_sessions(settings.database, statement_timeout=statement_timeout, connections=limit)


def check_storage(settings: Settings) -> None:
    """Raise StorageError if the storage cannot be opened, so that a process fails at its start."""
    _protect_data(settings)
    open_storage(settings.storage)


def _protect_data(settings: Settings) -> None:
    """Restrict the data folder to its owner, if anything is stored there."""
    if not (settings.database_url and settings.storage_url):
        with suppress(OSError):  # the code that needs the folder reports it
            make_private(settings.data_dir)


async def check_schema(settings: Settings) -> None:
    """Raise SchemaBehind if migrations are missing. An unavailable database is only logged: it may come back."""
    sessions = open_database(settings)
    try:
        await migrations.check(sessions)
    except migrations.SchemaBehind:
        raise
    except DatabaseUnavailable as error:
        log.warning("database_unavailable", error=str(error))
    finally:
        await sessions.aclose()


async def check_access(settings: Settings) -> None:
    """Raise StartupError if other machines can reach the API but there is no API key; skipped without a database."""
    if settings.auth == "none" or is_loopback(settings.host):
        return
    sessions = open_database(settings)
    try:
        if await list_keys(sessions=sessions):
            return
    except DatabaseUnavailable as error:
        log.warning("database_unavailable", error=str(error))
        return
    finally:
        await sessions.aclose()
    raise StartupError(
        f"Refusing to listen on {settings.host}: no API key exists, so anyone who can reach it could use it. "
        "Create one (`imgsvc keys create NAME`), listen on 127.0.0.1, or set IMGSVC_AUTH=none."
    )


def manifest_limits(settings: Settings) -> ManifestLimits:
    return ManifestLimits(
        max_rows=settings.max_rows,
        max_assets=settings.max_assets,
        max_urls_per_row=settings.max_urls_per_row,
        max_url_length=settings.max_url_length,
    )


def lane_policy(settings: Settings) -> LanePolicy:
    return LanePolicy(
        assets=settings.lane_assets,
        flush_assets=settings.flush_assets,
        flush_interval=settings.flush_interval,
        lease=settings.lease,
        lifetime=settings.lane_lifetime,
        hand_back_after=settings.lease * 5 / 6,
        drain=settings.drain_timeout * 3 / 4,
    )

"""`imgsvc check`: tests every part that the settings name and advises on what does not work."""

import asyncio
import os
import shutil
from collections.abc import Awaitable
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx

from imgsvc.adapters.redis.queue import CONTROL_QUEUE, WORKER_TIMEOUT, ArqQueue, open_redis
from imgsvc.adapters.storage.open_storage import open_storage
from imgsvc.doctor.database_check import check_database
from imgsvc.doctor.finding import Finding
from imgsvc.errors import ImgsvcError
from imgsvc.process.data_folder import RunningStack, find_running
from imgsvc.settings.server import Settings, unknown_settings

CHECK_TIMEOUT = 10.0
"""Seconds that the check of one part may take."""
MIN_FREE_BYTES = 256 * 2**20
"""Bytes below which a disk counts as full: one upload and the images being stored need this much."""


async def run_checks(
    settings: Settings, *, within: float = CHECK_TIMEOUT, min_free: int = MIN_FREE_BYTES
) -> list[Finding]:
    """Check every part concurrently; nothing changes, except that a probe file is stored and removed again."""
    running = find_running(settings.data_dir)
    checks = [_database(settings, running), _queue(settings, running), _storage(settings), _api(settings, running)]
    parts = ["Database", "Redis", "Storage", "API"]
    found = await asyncio.gather(*(_in_time(part, check, within) for part, check in zip(parts, checks, strict=True)))
    first = [_settings(settings, running), _disk(settings, min_free)]
    return [*first, *(finding for findings in found for finding in findings)]


async def _in_time(part: str, check: Awaitable[list[Finding]], within: float) -> list[Finding]:
    try:
        async with asyncio.timeout(within):
            return await check
    except TimeoutError:
        return [Finding(part, False, f"No response within {within:g} s.", "Is it overloaded, or behind a firewall?")]


def _settings(settings: Settings, running: RunningStack | None) -> Finding:
    names = ", ".join(f"IMGSVC_{name.upper()}" for name in sorted(settings.model_fields_set))
    message = f"{names} set, all others have their defaults." if names else "All have their defaults."
    if running:
        message += f" `imgsvc up` (process {running.pid}) is using {settings.data_dir.resolve()}."
    if unknown := unknown_settings():
        return Finding("Settings", False, f"{message} {', '.join(unknown)}: no such setting.", "Correct or remove it.")
    return Finding("Settings", True, message)


def _disk(settings: Settings, min_free: int) -> Finding:
    folder = settings.data_dir.resolve()
    free = shutil.disk_usage(_nearest_existing(folder)).free
    message = f"{free / 2**30:,.1f} GB free for {folder}."
    if free < min_free:
        return Finding("Disk", False, message, "Free some space, or move the folder with IMGSVC_DATA_DIR.")
    return Finding("Disk", True, message)


async def _database(settings: Settings, running: RunningStack | None) -> list[Finding]:
    """Check the database, and that it has enough connections for the API and the workers that report to Redis."""
    queue = _open_queue(settings, running)
    try:
        workers = await queue.live_workers()
    except ImgsvcError:
        workers = 0  # the check of Redis reports it
    finally:
        await queue.aclose()
    return [await check_database(settings, processes=workers + 1)]


def _open_queue(settings: Settings, running: RunningStack | None) -> ArqQueue:
    timeout = settings.redis_timeout
    url = _redis_url(settings, running)
    return ArqQueue(open_redis(url, queue_name=CONTROL_QUEUE, timeout=timeout), timeout=timeout)


def _redis_url(settings: Settings, running: RunningStack | None) -> str:
    return running.redis_url if running and running.redis_url else settings.redis_url


async def _queue(settings: Settings, running: RunningStack | None) -> list[Finding]:
    """Check Redis and the workers that report to it."""
    url, queue = _redis_url(settings, running), _open_queue(settings, running)
    try:
        count = await queue.live_workers()
    except ImgsvcError as error:
        workers = Finding("Workers", False, "Unknown: workers report to Redis.", "Start Redis first.")
        return [Finding("Redis", False, f"{_redacted(url)}: {error}", _advice_on_redis(settings, running)), workers]
    finally:
        await queue.aclose()
    redis = Finding("Redis", True, f"{_redacted(url)} responds.")
    if not count:
        return [redis, Finding("Workers", False, "No worker is running.", "Start `imgsvc up` or `imgsvc worker`.")]
    within = f"{WORKER_TIMEOUT.total_seconds():g} s"
    return [redis, Finding("Workers", True, f"{count} reported in the last {within}.")]


def _advice_on_redis(settings: Settings, running: RunningStack | None) -> str:
    if "redis_url" in settings.model_fields_set:
        return "Is it running, and is IMGSVC_REDIS_URL correct, including its password?"
    if running:
        return f"Look at the terminal of `imgsvc up` (process {running.pid})."
    return "Start `imgsvc up`, which includes a Redis, or start a Redis and set IMGSVC_REDIS_URL."


async def _storage(settings: Settings) -> list[Finding]:
    url = settings.storage
    if url.startswith("file:"):
        name = unquote(urlsplit(url).path)
        if not await asyncio.to_thread(os.path.exists, name):
            creatable = await asyncio.to_thread(_is_creatable, Path(name))
            outlook = "; the first start creates it." if creatable else " and cannot be created."
            advice = "" if creatable else "Does this user have write permission there?"
            return [Finding("Storage", creatable, f"{name} does not exist yet{outlook}", advice)]
    else:
        name = _redacted(url)
    try:
        await open_storage(url).check()
    except ImgsvcError as error:
        reason = str(error.__cause__ or error).partition("\n")[0]
        return [
            Finding("Storage", False, f"{name}: {reason}", "Does this user have write permission? Is there free space?")
        ]
    return [Finding("Storage", True, f"{name} is writable.")]


async def _api(settings: Settings, running: RunningStack | None) -> list[Finding]:
    """Check the API on this machine, and the base URL of links if that is another address."""
    local = running.url if running else settings.local_base
    if settings.public_url is None:
        return [await _check_api("API", local, _advice_on_api(running))]
    public = settings.public_base
    if public in (local, settings.local_base):
        return [await _check_api("API", public, _advice_on_api(running))]
    link = _check_api("Links", public, "IMGSVC_PUBLIC_URL must lead to the API: is the reverse proxy correct?")
    if not running:  # it may run on another machine
        return [await link]
    return list(await asyncio.gather(_check_api("API", local, _advice_on_api(running)), link))


def _advice_on_api(running: RunningStack | None) -> str:
    if running:
        return f"Look at the terminal of `imgsvc up` (process {running.pid})."
    return "Start `imgsvc up` or `imgsvc api`."


async def _check_api(part: str, url: str, advice: str) -> Finding:
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=CHECK_TIMEOUT / 2) as client:
            answer = await client.get(f"{url}/healthz")
        if answer.is_success and answer.json() == {"status": "ok"}:
            return Finding(part, True, f"{url} responds.")
        problem = f"HTTP {answer.status_code} from another program, not imgsvc"
    except ValueError:
        problem = "another program, not imgsvc"
    except httpx.HTTPError as error:
        problem = str(error) or type(error).__name__
    return Finding(part, False, f"{url}: {problem}.", advice)


def _nearest_existing(path: Path) -> Path:
    """Return `path` or the closest parent folder that exists."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _is_creatable(path: Path) -> bool:
    parent = _nearest_existing(path)
    return parent.is_dir() and os.access(parent, os.W_OK)


def _redacted(url: str) -> str:
    """Return the URL without its possibly secret parts: login and query."""
    parts = urlsplit(url)
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="")
    return f"{parts.scheme}://{bare.netloc}{bare.path}"

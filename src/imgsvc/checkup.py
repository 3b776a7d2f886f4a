"""`imgsvc check`: every part that the settings name, what works, what does not, and what to do about it."""

import asyncio
import shutil
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path

import httpx
from sqlalchemy import make_url

from imgsvc.adapters.queue import CONTROL_QUEUE, ArqQueue, open_redis
from imgsvc.adapters.storage import ObjectStorage
from imgsvc.config import Settings, mistaken_names
from imgsvc.db import migrations
from imgsvc.db.engine import open_sessions
from imgsvc.errors import ImgsvcError
from imgsvc.folder import Running, running_in

PATIENCE = 10.0
"""Seconds that one part may take to answer."""
LEAST_FREE = 256 * 2**20
"""Bytes below which a disk counts as full: one upload and the images that are being stored need this much."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about one part; `advice` is what to do when it is not well."""

    part: str
    is_well: bool
    says: str
    advice: str = ""


async def examine(settings: Settings) -> list[Finding]:
    """Look at every part at the same time; nothing is changed but a probe that is stored and removed again."""
    running = running_in(settings.data_dir)
    looks = {
        "Database": _database(settings),
        "Redis": _redis(settings, running),
        "Storage": _storage(settings),
        "Workers": _workers(settings, running),
        "API": _api(running.url if running else settings.public_base),
    }
    found = await asyncio.gather(*(_in_time(part, look) for part, look in looks.items()))
    return [_settings(settings, running), _disk(settings), *found]


async def _in_time(part: str, look: Awaitable[Finding]) -> Finding:
    try:
        async with asyncio.timeout(PATIENCE):
            return await look
    except TimeoutError:
        return Finding(part, False, f"No answer within {PATIENCE:g} s.", "Is it overloaded, or behind a firewall?")


def _settings(settings: Settings, running: Running | None) -> Finding:
    names = ", ".join(f"IMGSVC_{name.upper()}" for name in sorted(settings.model_fields_set))
    says = f"{names} set, the rest by default." if names else "All by default."
    if running:
        says += f" `imgsvc up` (process {running.pid}) is using {settings.data_dir.resolve()}."
    if mistaken := mistaken_names():
        return Finding("Settings", False, f"{says} {', '.join(mistaken)}: no such setting.", "Correct or remove it.")
    return Finding("Settings", True, says)


def _disk(settings: Settings) -> Finding:
    folder = settings.data_dir.resolve()
    present = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(present).free
    says = f"{free / 2**30:,.1f} GB free for {folder}."
    if free < LEAST_FREE:
        return Finding("Disk", False, says, "Make room, or move the folder with IMGSVC_DATA_DIR.")
    return Finding("Disk", True, says)


async def _database(settings: Settings) -> Finding:
    url = make_url(settings.database)
    name = url.render_as_string(hide_password=True)
    if url.get_backend_name() == "sqlite" and not await asyncio.to_thread(Path(url.database or "").exists):
        return Finding("Database", False, f"There is none yet at {name}.", "Run `imgsvc db upgrade`, or `imgsvc up`.")
    sessions = open_sessions(settings.database)
    try:
        await migrations.check(sessions)
    except migrations.SchemaBehind as error:
        return Finding("Database", False, f"{name}: {error}")
    except ImgsvcError as error:
        return Finding("Database", False, f"{name}: {error}", "Is it running, and is IMGSVC_DATABASE_URL right?")
    finally:
        await sessions.aclose()
    return Finding("Database", True, f"{name} answers and has the schema it needs.")


async def _redis(settings: Settings, running: Running | None) -> Finding:
    url = _redis_url(settings, running)
    try:
        await _live_workers(url)
    except ImgsvcError as error:
        start = "Start everything with `imgsvc up`, which brings its own, or a Redis or Valkey"
        return Finding("Redis", False, f"{_shown(url)}: {error}", f"{start}, and set IMGSVC_REDIS_URL.")
    return Finding("Redis", True, f"{_shown(url)} answers.")


async def _storage(settings: Settings) -> Finding:
    try:
        await ObjectStorage(settings.storage).check()
    except ImgsvcError as error:
        reason = str(error.__cause__ or error).partition("\n")[0]
        return Finding("Storage", False, f"{settings.storage}: {reason}", "May this user write there? Is there room?")
    return Finding("Storage", True, f"{settings.storage} can be written to.")


async def _workers(settings: Settings, running: Running | None) -> Finding:
    try:
        count = await _live_workers(_redis_url(settings, running))
    except ImgsvcError:
        return Finding("Workers", False, "Nobody knows: they report to Redis.", "Get Redis going first.")
    if not count:
        return Finding("Workers", False, "None is running.", "Start `imgsvc up`, or `imgsvc worker`.")
    return Finding("Workers", True, f"{count} running.")


async def _api(url: str) -> Finding:
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
            answer = await client.get(f"{url}/healthz")
        if answer.is_success and answer.content == b'{"status":"ok"}':
            return Finding("API", True, f"{url} answers.")
        said = f"HTTP {answer.status_code} of something that is no imgsvc"
    except httpx.HTTPError as error:
        said = str(error) or type(error).__name__
    advice = "Start `imgsvc up` or `imgsvc api`; IMGSVC_PUBLIC_URL must lead to it."
    return Finding("API", False, f"{url}: {said}.", advice)


async def _live_workers(url: str) -> int:
    queue = ArqQueue(open_redis(url, queue_name=CONTROL_QUEUE))
    try:
        return await queue.live_workers()
    finally:
        await queue.aclose()


def _redis_url(settings: Settings, running: Running | None) -> str:
    return running.redis_url if running else settings.redis_url


def _shown(url: str) -> str:
    """The URL without a password."""
    scheme, _, rest = url.partition("://")
    login, at, _ = rest.partition("/")[0].rpartition("@")
    return f"{scheme}://{rest.removeprefix(login + at)}" if at else url

"""`imgsvc check`: every part that the settings name, what works, what does not, and what to do about it."""

import asyncio
import os
import shutil
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx
from sqlalchemy import make_url

from imgsvc.adapters.redis.queue import CONTROL_QUEUE, WORKER_TIMEOUT, ArqQueue, open_redis
from imgsvc.adapters.storage.object_store import ObjectStorage
from imgsvc.db import migrations
from imgsvc.db.engine import open_sessions
from imgsvc.errors import ImgsvcError
from imgsvc.process.data_folder import Running, find_running
from imgsvc.settings.server import Settings, unknown_settings

CHECK_TIMEOUT = 10.0
"""Seconds that one part may take to answer."""
MIN_FREE_BYTES = 256 * 2**20
"""Bytes below which a disk counts as full: one upload and the images that are being stored need this much."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about one part; `advice` is what to do when it is not well."""

    part: str
    ok: bool
    says: str
    advice: str = ""


async def run_checks(
    settings: Settings, *, patience: float = CHECK_TIMEOUT, least_free: int = MIN_FREE_BYTES
) -> list[Finding]:
    """Look at every part at the same time; nothing is changed but a probe that is stored and removed again."""
    running = find_running(settings.data_dir)
    looks = [_database(settings), _queue(settings, running), _storage(settings), _api(settings, running)]
    parts = ["Database", "Redis", "Storage", "API"]
    found = await asyncio.gather(*(_in_time(part, look, patience) for part, look in zip(parts, looks, strict=True)))
    first = [_settings(settings, running), _disk(settings, least_free)]
    return [*first, *(finding for findings in found for finding in findings)]


async def _in_time(part: str, look: Awaitable[list[Finding]], patience: float) -> list[Finding]:
    try:
        async with asyncio.timeout(patience):
            return await look
    except TimeoutError:
        return [Finding(part, False, f"No answer within {patience:g} s.", "Is it overloaded, or behind a firewall?")]


def _settings(settings: Settings, running: Running | None) -> Finding:
    names = ", ".join(f"IMGSVC_{name.upper()}" for name in sorted(settings.model_fields_set))
    says = f"{names} set, the rest by default." if names else "All by default."
    if running:
        says += f" `imgsvc up` (process {running.pid}) is using {settings.data_dir.resolve()}."
    if mistaken := unknown_settings():
        return Finding("Settings", False, f"{says} {', '.join(mistaken)}: no such setting.", "Correct or remove it.")
    return Finding("Settings", True, says)


def _disk(settings: Settings, least_free: int) -> Finding:
    folder = settings.data_dir.resolve()
    free = shutil.disk_usage(_nearest(folder)).free
    says = f"{free / 2**30:,.1f} GB free for {folder}."
    if free < least_free:
        return Finding("Disk", False, says, "Make room, or move the folder with IMGSVC_DATA_DIR.")
    return Finding("Disk", True, says)


async def _database(settings: Settings) -> list[Finding]:
    url = make_url(settings.database)
    is_file = url.get_backend_name() == "sqlite"
    name = url.database if is_file and url.database else url.render_as_string(hide_password=True)
    if is_file and not await asyncio.to_thread(Path(name).exists):
        return [Finding("Database", False, f"There is none yet at {name}.", "Run `imgsvc db upgrade`, or `imgsvc up`.")]
    sessions = open_sessions(settings.database)
    try:
        await migrations.check(sessions)
    except migrations.SchemaBehind as error:
        return [Finding("Database", False, f"{name}: {error}")]
    except ImgsvcError as error:
        return [Finding("Database", False, f"{name}: {error}", "Is it running, and is IMGSVC_DATABASE_URL right?")]
    finally:
        await sessions.aclose()
    return [Finding("Database", True, f"{name} answers and has the schema it needs.")]


async def _queue(settings: Settings, running: Running | None) -> list[Finding]:
    """Redis, and the workers that report there."""
    url = running.redis_url if running and running.redis_url else settings.redis_url
    patience = settings.redis_timeout
    queue = ArqQueue(open_redis(url, queue_name=CONTROL_QUEUE, timeout=patience), timeout=patience)
    try:
        count = await queue.live_workers()
    except ImgsvcError as error:
        nobody = Finding("Workers", False, "Nobody knows: they report to Redis.", "Get Redis going first.")
        return [Finding("Redis", False, f"{_shown(url)}: {error}", _advice_on_redis(settings, running)), nobody]
    finally:
        await queue.aclose()
    redis = Finding("Redis", True, f"{_shown(url)} answers.")
    if not count:
        return [redis, Finding("Workers", False, "None is running.", "Start `imgsvc up`, or `imgsvc worker`.")]
    within = f"{WORKER_TIMEOUT.total_seconds():g} s"
    return [redis, Finding("Workers", True, f"{count} heard of in the last {within}.")]


def _advice_on_redis(settings: Settings, running: Running | None) -> str:
    if "redis_url" in settings.model_fields_set:
        return "Is it running, and is IMGSVC_REDIS_URL right, password included?"
    if running:
        return f"Look at the terminal of `imgsvc up` (process {running.pid})."
    return "Start everything with `imgsvc up`, which brings its own, or start one and set IMGSVC_REDIS_URL."


async def _storage(settings: Settings) -> list[Finding]:
    url = settings.storage
    if url.startswith("file:"):
        name = unquote(urlsplit(url).path)
        if not await asyncio.to_thread(os.path.exists, name):
            may = await asyncio.to_thread(_may_be_made, Path(name))
            says = f"{name} is not there yet" + ("; it is made at the first start." if may else " and cannot be made.")
            return [Finding("Storage", may, says, "" if may else "May this user write there?")]
    else:
        name = _shown(url)
    try:
        await ObjectStorage(url).check()
    except ImgsvcError as error:
        reason = str(error.__cause__ or error).partition("\n")[0]
        return [Finding("Storage", False, f"{name}: {reason}", "May this user write there? Is there room?")]
    return [Finding("Storage", True, f"{name} can be written to.")]


async def _api(settings: Settings, running: Running | None) -> list[Finding]:
    """The API on this machine, and the address that every link starts with, where that is another."""
    local = running.url if running else settings.local_base
    if settings.public_url is None:
        return [await _answering("API", local, _advice_on_api(running))]
    public = settings.public_base
    if public in (local, settings.local_base):
        return [await _answering("API", public, _advice_on_api(running))]
    link = _answering("Links", public, "IMGSVC_PUBLIC_URL must lead to the API: is the proxy in front of it right?")
    if not running:  # it may run on another machine
        return [await link]
    return list(await asyncio.gather(_answering("API", local, _advice_on_api(running)), link))


def _advice_on_api(running: Running | None) -> str:
    if running:
        return f"Look at the terminal of `imgsvc up` (process {running.pid})."
    return "Start `imgsvc up` or `imgsvc api`."


async def _answering(part: str, url: str, advice: str) -> Finding:
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=CHECK_TIMEOUT / 2) as client:
            answer = await client.get(f"{url}/healthz")
        if answer.is_success and answer.json() == {"status": "ok"}:
            return Finding(part, True, f"{url} answers.")
        said = f"HTTP {answer.status_code} of something that is no imgsvc"
    except ValueError:
        said = "something that is no imgsvc"
    except httpx.HTTPError as error:
        said = str(error) or type(error).__name__
    return Finding(part, False, f"{url}: {said}.", advice)


def _nearest(path: Path) -> Path:
    """The folder that is there and that `path` lies in, or would."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _may_be_made(path: Path) -> bool:
    return _nearest(path).is_dir() and os.access(_nearest(path), os.W_OK)


def _shown(url: str) -> str:
    """The URL without what may be secret: login and query."""
    parts = urlsplit(url)
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="")
    return f"{parts.scheme}://{bare.netloc}{bare.path}"

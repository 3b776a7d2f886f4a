"""`imgsvc up`: the whole stack on one machine, from nothing but a data folder."""

import asyncio
import fcntl
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from imgsvc.adapters.embedded import answers, valkey_command
from imgsvc.bootstrap import check_storage
from imgsvc.config import Settings
from imgsvc.db import migrations
from imgsvc.db.engine import open_sessions
from imgsvc.supervisor import Child, Supervisor, stop_on_signals

# glibc gives the memory of every picture back to the kernel and asks for it again for the next: a JPEG of 1 MP took
# 12.4 ms of CPU instead of 6.7. It may keep this much instead (docs/performance.md); other C libraries ignore it.
WORKER_MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(128 * 2**20),
    "MALLOC_TOP_PAD_": str(16 * 2**20),
    "MALLOC_ARENA_MAX": "1",  # the others hold only for the first arena; one for each thread would not know them
}


class CannotStart(Exception):
    """Something is in the way; the message says what, and what to do."""


async def up(settings: Settings, *, host: str, port: int, workers: int, on_ready: Callable[[str], None]) -> None:
    """Run API, workers and, unless IMGSVC_REDIS_URL is set, an embedded Valkey until SIGTERM or Ctrl-C.

    Raises:
        CannotStart: the data folder is in use, the port is taken.
        NotReady: a process did not come up.
    """
    stopping = asyncio.Event()
    stop_on_signals(stopping)
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    with _locked(settings.data_dir.resolve()), tempfile.TemporaryDirectory(prefix="imgsvc-") as folder:
        _require_free(host, port)
        check_storage(settings)
        await upgrade_database(settings)
        children = list(_children(settings, host=host, port=port, workers=workers, url=url, folder=Path(folder)))
        supervisor = Supervisor(children, stopping=stopping, drain=settings.drain_timeout)
        await supervisor.run(on_ready=lambda: on_ready(url))


async def upgrade_database(settings: Settings) -> None:
    """Bring the settings' database to the newest schema."""
    sessions = open_sessions(settings.database)
    try:
        await migrations.upgrade(sessions)
    finally:
        await sessions.aclose()


def _children(settings: Settings, *, host: str, port: int, workers: int, url: str, folder: Path) -> Iterator[Child]:
    env = {"IMGSVC_DATA_DIR": str(settings.data_dir.resolve())}
    if "public_url" not in settings.model_fields_set:
        env["IMGSVC_PUBLIC_URL"] = url
    if "redis_url" not in settings.model_fields_set:
        valkey = folder / "valkey.sock"
        env["IMGSVC_REDIS_URL"] = f"unix://{valkey}"
        log = settings.data_dir.resolve() / "valkey.log"
        yield Child("valkey", valkey_command(valkey, log=log), ready=lambda: answers(valkey), base=True)
    api = [sys.executable, "-m", "imgsvc", "api", "--host", host, "--port", str(port)]
    yield Child("api", api, env, ready=lambda: _responds(url))
    yield from worker_children(workers, env)


def worker_children(processes: int, env: dict[str, str]) -> Iterator[Child]:
    """The worker processes of one machine."""
    for number in range(1, processes + 1):
        yield Child(f"worker-{number}", [sys.executable, "-m", "imgsvc.worker.main"], {**WORKER_MALLOC, **env})


async def _responds(url: str) -> bool:
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=2) as client:
            return (await client.get(f"{url}/readyz")).is_success
    except httpx.HTTPError:
        return False


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep a second `up` away from the same data folder; the lock ends with the process, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            raise CannotStart(
                f"Another imgsvc (process {owner}) is using the data folder {folder}. "
                "Stop it, or choose another folder with --data-dir."
            ) from exc
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _require_free(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as exc:
            raise CannotStart(f"Cannot listen on {host}:{port} ({exc.strerror}). Choose another with --port.") from exc

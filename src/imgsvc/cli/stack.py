"""The stack of `imgsvc up`: API, workers and Valkey on one machine, starting from an empty data folder."""

import asyncio
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

from imgsvc.adapters.redis.embedded_valkey import responds, valkey_command
from imgsvc.bootstrap import check_access, check_storage, open_database
from imgsvc.db import migrations
from imgsvc.errors import DatabaseUnavailable, StartupError
from imgsvc.process.child_process import RUN_MODULE
from imgsvc.process.data_folder import RunningStack, lock_folder
from imgsvc.process.listen_socket import listen
from imgsvc.process.supervisor import Child, Supervisor, stop_on_signals
from imgsvc.settings.server import Settings

# By default glibc returns the memory of every image to the kernel and asks for it again for the next: a JPEG of 1 MP
# took 12.4 ms of CPU instead of 6.7. These values let it keep memory (docs/performance.md); other C libraries ignore
# them.
WORKER_MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(128 * 2**20),
    "MALLOC_TOP_PAD_": str(16 * 2**20),
    "MALLOC_ARENA_MAX": "1",  # the other values apply only to the first arena
}

MAX_PROCESSES = 4
MAX_SOCKET_PATH = 80
"""Maximum bytes of the temporary folder's path; with a longer one, the path of the socket would exceed its limit."""


async def run_stack(
    settings: Settings, *, workers: int | None, on_ready: Callable[[], None], listener: socket.socket | None = None
) -> None:
    """Run API, workers and, unless IMGSVC_REDIS_URL is set, an embedded Valkey until asked to stop.

    The API listens at the address in the settings; a given `listener` must use that port.

    Raises:
        StartupError: the data folder is in use or not writable, the port is in use, or a process did not start.
        StorageError: the storage cannot be opened.
    """
    stopping = asyncio.Event()
    stop_on_signals(stopping)
    folder = settings.data_dir.resolve()
    with lock_folder(folder) as publish, _socket_folder() as temporary:
        check_storage(settings)
        await upgrade_database(settings)
        await check_access(settings)
        listener = listener or listen(settings.host, settings.port)
        valkey = None if "redis_url" in settings.model_fields_set else Path(temporary) / "valkey.sock"
        redis_url = f"unix://{valkey}" if valkey else settings.redis_url
        env = {
            "IMGSVC_DATA_DIR": str(folder),
            "IMGSVC_HOST": settings.host,
            "IMGSVC_PORT": str(settings.port),
            "IMGSVC_REDIS_URL": redis_url,
        }
        children = [
            *_valkey(valkey, log=folder / "valkey.log"),
            _api(settings.local_base, listener, env),
            *worker_children(workers or default_processes(), settings, env),
        ]
        # Only the embedded Redis is published: the URL of another may contain a password.
        publish(RunningStack(os.getpid(), settings.local_base, redis_url if valkey else None))
        await Supervisor(children, stopping=stopping, drain=settings.drain_timeout).run(on_ready=on_ready)


def _socket_folder() -> tempfile.TemporaryDirectory[str]:
    """Create a temporary folder for Valkey's socket, whose path must be shorter than 108 bytes."""
    is_short = len(os.fsencode(tempfile.gettempdir())) < MAX_SOCKET_PATH
    short = None if is_short else "/tmp"  # noqa: S108  # the folder there gets a random name and mode 0700
    return tempfile.TemporaryDirectory(prefix="imgsvc-", dir=short)


async def upgrade_database(settings: Settings) -> None:
    """Upgrade the settings' database to the newest schema.

    Raises:
        StartupError: it is unavailable, full, damaged, or of a newer imgsvc.
    """
    sessions = open_database(settings, statement_timeout=None)
    try:
        await migrations.upgrade(sessions)
    except DatabaseUnavailable as error:
        name = sessions.engine.url.render_as_string()
        raise StartupError(f"The database {name} cannot be upgraded to the newest schema: {error}.") from error
    finally:
        await sessions.aclose()


def default_processes() -> int:
    """Return the number of worker processes: one per core, at most four.

    Within a process, Python runs one thread at a time between steps of Pillow. Two processes with one codec thread each
    are a tenth faster than one process with two, and do all other work in parallel (docs/performance.md).
    """
    return min(os.cpu_count() or 1, MAX_PROCESSES)


def worker_children(processes: int, settings: Settings, env: dict[str, str]) -> Iterator[Child]:
    """Yield the worker processes of one machine; they share its cores, unless the codec threads are set."""
    if "codec_threads" not in settings.model_fields_set:
        env = {**env, "IMGSVC_CODEC_THREADS": str(max(1, settings.codec_threads // processes))}
    for number in range(1, processes + 1):
        yield Child(f"worker-{number}", [*RUN_MODULE, "imgsvc.worker"], {**WORKER_MALLOC, **env})


def _valkey(path: Path | None, *, log: Path) -> Iterator[Child]:
    if path:
        command = valkey_command(path, log=log)
        yield Child("valkey", command, ready=lambda: responds(path), base=True, hint=f"Its log is {log}.")


def _api(url: str, listener: socket.socket, env: dict[str, str]) -> Child:
    """Return the API process. It inherits the socket: while it restarts, clients wait instead of being refused."""
    command = [*RUN_MODULE, "imgsvc", "api", "--fd", str(listener.fileno())]
    hint = "Run `imgsvc check` in another terminal to see which part does not work."
    return Child("api", command, env, ready=lambda: _responds(url), sockets=(listener.fileno(),), hint=hint)


async def _responds(url: str) -> bool:
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=2) as client:
            return (await client.get(f"{url}/readyz")).is_success
    except httpx.HTTPError:
        return False

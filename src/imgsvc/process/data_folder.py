"""The data folder: one `imgsvc up` uses it at a time and records its address there."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path
from time import monotonic, sleep

from imgsvc.errors import StartupError
from imgsvc.process.private_files import make_private

if sys.platform != "win32":  # `up` does not run there, but the client commands do
    import fcntl

LOCK_TIMEOUT = 0.5
_LOCK = ".lock"


@dataclass(frozen=True, slots=True)
class RunningStack:
    """An `imgsvc up` that is using the folder: its process, its API, and its embedded Valkey, if it has one."""

    pid: int
    url: str
    redis_url: str | None = None


@contextmanager
def lock_folder(folder: Path) -> Iterator[Callable[[RunningStack], None]]:
    """Create `folder` if needed and lock it against a second `up`; yield a function that records what runs.

    The lock ends with the process, even if that is killed.

    Raises:
        StartupError: another `up` uses the folder, or it is not writable.
    """
    try:
        make_private(folder)
        file = (folder / _LOCK).open("ab+", buffering=0)
    except OSError as exc:
        raise StartupError(f"Cannot use the data folder {folder}: {exc.strerror}.") from exc
    with file:
        if not _lock_with_retries(file):
            owner = _read(file)
            name = f"process {owner.pid}, {owner.url}" if owner else "just starting"
            raise StartupError(
                f"Another imgsvc ({name}) is using the data folder {folder}. Stop it, or choose another folder with "
                "--data-dir or IMGSVC_DATA_DIR."
            )
        file.truncate(0)
        yield lambda running: _write(file, running)


def find_running(folder: Path) -> RunningStack | None:
    """Return the `up` that uses `folder` now."""
    if sys.platform == "win32":
        return None
    try:
        with (folder / _LOCK).open("rb", buffering=0) as file:
            return None if _try_lock(file, fcntl.LOCK_SH) else _read(file)
    except OSError:  # there is no folder or lock yet, or it is not readable
        return None


def _lock_with_retries(file: FileIO) -> bool:
    """Lock `file`, retrying for `LOCK_TIMEOUT`: `find_running` in another process holds the lock for a moment."""
    deadline = monotonic() + LOCK_TIMEOUT
    while not _try_lock(file, fcntl.LOCK_EX):
        if monotonic() > deadline:
            return False
        sleep(0.01)
    return True


def _try_lock(file: FileIO, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(file: FileIO) -> RunningStack | None:
    """Return the owner's record; None if it has not written one yet."""
    file.seek(0)
    try:
        return RunningStack(**json.loads(file.read()))
    except (ValueError, TypeError):  # empty, or written by another version
        return None


def _write(file: FileIO, running: RunningStack) -> None:
    try:
        file.write(json.dumps(asdict(running)).encode())  # one write: a reader never sees half of it
    except OSError as exc:
        raise StartupError(f"Cannot write to the data folder: {exc.strerror}.") from exc

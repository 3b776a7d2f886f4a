"""The data folder: one `imgsvc up` uses it at a time, and says there where it can be reached."""

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

if sys.platform != "win32":  # where no `up` runs, and its users are at home all the same
    import fcntl

LOCK_TIMEOUT = 0.5
_LOCK = ".lock"


@dataclass(frozen=True, slots=True)
class Running:
    """An `imgsvc up` that is using the folder: its process, its API, and its embedded Valkey, if it has one."""

    pid: int
    url: str
    redis_url: str | None = None


@contextmanager
def lock_folder(folder: Path) -> Iterator[Callable[[Running], None]]:
    """Keep a second `up` away from `folder`, which is made if need be; call what is yielded to say what runs there.

    The lock ends with the process, however it ends.

    Raises:
        StartupError: another `up` has the folder, or it cannot be written to.
    """
    try:
        make_private(folder)
        file = (folder / _LOCK).open("ab+", buffering=0)
    except OSError as exc:
        raise StartupError(f"Cannot use the data folder {folder}: {exc.strerror}.") from exc
    with file:
        if not _take_patiently(file):
            owner = _read(file)
            who = f"process {owner.pid}, {owner.url}" if owner else "just starting"
            raise StartupError(
                f"Another imgsvc ({who}) is using the data folder {folder}. Stop it, or choose another folder with "
                "--data-dir or IMGSVC_DATA_DIR."
            )
        file.truncate(0)
        yield lambda running: _write(file, running)


def find_running(folder: Path) -> Running | None:
    """The `up` that is using `folder` at this moment."""
    if sys.platform == "win32":
        return None
    try:
        with (folder / _LOCK).open("rb", buffering=0) as file:
            return None if _take(file, fcntl.LOCK_SH) else _read(file)
    except OSError:  # no folder or no lock yet, or not ours to read
        return None


def _take_patiently(file: FileIO) -> bool:
    """Whoever looks by `find_running` has the lock for a moment too, and is no reason to give up."""
    deadline = monotonic() + LOCK_TIMEOUT
    while not _take(file, fcntl.LOCK_EX):
        if monotonic() > deadline:
            return False
        sleep(0.01)
    return True


def _take(file: FileIO, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(file: FileIO) -> Running | None:
    """What the owner wrote; None when it has not come to that yet."""
    file.seek(0)
    try:
        return Running(**json.loads(file.read()))
    except (ValueError, TypeError):  # nothing yet, or what another version writes
        return None


def _write(file: FileIO, running: Running) -> None:
    try:
        file.write(json.dumps(asdict(running)).encode())  # one write: nobody reads half of it
    except OSError as exc:
        raise StartupError(f"Cannot write to the data folder: {exc.strerror}.") from exc

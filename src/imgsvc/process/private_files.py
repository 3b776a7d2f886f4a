"""Keeps what is on the disk from other users of the machine, whatever the umask."""

import stat
from contextlib import suppress
from pathlib import Path

GROUP_AND_OTHERS = stat.S_IRWXG | stat.S_IRWXO
DATABASE_SUFFIXES = ("", "-wal", "-shm", "-journal")
"""The files of a SQLite database."""


def make_folder(folder: Path) -> None:
    """Make a folder for its owner alone; one that exists keeps its mode.

    Raises:
        OSError: it cannot be made.
    """
    folder.mkdir(mode=stat.S_IRWXU, parents=True, exist_ok=True)


def make_private(folder: Path) -> None:
    """Make a folder, or take it from group and others, unless all users share it (as `/tmp`) or it is another's.

    Raises:
        OSError: it cannot be made.
    """
    make_folder(folder)
    if not folder.stat().st_mode & stat.S_ISVTX:
        _take_from_others(folder)


def protect_database(path: Path) -> None:
    """Take the files of a SQLite database from group and others, and make it first if it is not there.

    It is never opened once it exists: to close it would give up the locks that SQLite holds on it in this process
    (fcntl(2)). The files beside a new one get its mode from SQLite.
    """
    with suppress(OSError):  # it exists, or SQLite says better why it cannot be made
        path.touch(mode=stat.S_IRUSR | stat.S_IWUSR, exist_ok=False)
    for end in DATABASE_SUFFIXES:
        _take_from_others(path.with_name(path.name + end))


def _take_from_others(path: Path) -> None:
    with suppress(OSError):  # not there, not ours to change, or on a file system without modes
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & GROUP_AND_OTHERS:
            path.chmod(mode & ~GROUP_AND_OTHERS)

"""Files and folders that other users of the machine cannot read, whatever the umask."""

import stat
from contextlib import suppress
from pathlib import Path

GROUP_AND_OTHERS = stat.S_IRWXG | stat.S_IRWXO
DATABASE_SUFFIXES = ("", "-wal", "-shm", "-journal")
"""The files of a SQLite database."""


def make_folder(folder: Path) -> None:
    """Create a folder for its owner alone; an existing one keeps its mode.

    Raises:
        OSError: it cannot be created.
    """
    folder.mkdir(mode=stat.S_IRWXU, parents=True, exist_ok=True)


def make_private(folder: Path) -> None:
    """Create a folder for its owner alone, or revoke the access of group and others to an existing one.

    A folder that all users share (such as `/tmp`) or that belongs to another user keeps its mode.

    Raises:
        OSError: it cannot be created.
    """
    make_folder(folder)
    if not folder.stat().st_mode & stat.S_ISVTX:
        _revoke_others(folder)


def protect_database(path: Path) -> None:
    """Revoke the access of group and others to a SQLite database's files, and create the database if it is missing.

    An existing database is never opened: closing it would release the locks that SQLite holds on it in this process
    (fcntl(2)). SQLite gives the journal files of a new database its mode.
    """
    with suppress(OSError):  # it exists, or SQLite gives a better reason why it cannot be created
        path.touch(mode=stat.S_IRUSR | stat.S_IWUSR, exist_ok=False)
    for suffix in DATABASE_SUFFIXES:
        _revoke_others(path.with_name(path.name + suffix))


def _revoke_others(path: Path) -> None:
    with suppress(OSError):  # missing, owned by another user, or on a file system without modes
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & GROUP_AND_OTHERS:
            path.chmod(mode & ~GROUP_AND_OTHERS)

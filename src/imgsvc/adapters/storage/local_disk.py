"""The files of a storage on disk as they are, which obstore does not show: it hides what a killed put left behind.

A put writes to `{key}#1` (the next free number) and renames it; a process that dies in between leaves that file, and
obstore neither lists nor deletes a name with such an end.
"""

import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from imgsvc.services.ports import Stored


def find(folder: Path, key: str) -> Path | None:
    """The file of this key, or None; blocking.

    Raises:
        OSError: the storage's own folder is not there, so nobody knows.
    """
    path = _inside(folder, key)
    if path.is_file():
        return path
    os.scandir(folder).close()
    return None


def copy(folder: Path, source: str, key: str) -> bool:
    """Make `key` a second name of the bytes under `source`, as new as if they were written now; blocking.

    Files are never written to again, so a link is as good as a copy. Where the file system has no links, or the file
    all that it can have, the bytes are copied.

    Returns:
        False when nothing lies under `source`.

    Raises:
        OSError: the storage's own folder is not there, the disk is full, and the like.
    """
    old, new = _inside(folder, source), _inside(folder, key)
    aside = new.with_name(f"{new.name}#{secrets.token_hex(8)}")
    try:
        new.parent.mkdir(exist_ok=True)
        _link_or_copy(old, aside)
    except FileNotFoundError:
        os.scandir(folder).close()
        return False
    os.utime(aside)
    aside.rename(new)
    aside.unlink(missing_ok=True)  # two names of one file are not renamed: it was linked here before
    return True


def _link_or_copy(old: Path, new: Path) -> None:
    try:
        new.hardlink_to(old)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(old, new)


def pages(folder: Path, prefix: str, size: int) -> Iterator[list[Stored]]:
    """Every file under `prefix` (whole folder names; "" is all), `size` at a time; blocking, call it from a thread.

    Raises:
        OSError: the storage's own folder is not there, or is none. A prefix that is not has no files.
    """
    os.scandir(folder).close()
    page: list[Stored] = []
    for entry in _files(_inside(folder, prefix)):
        with suppress(FileNotFoundError):  # removed, or renamed to its final name, since it was seen
            found = entry.stat(follow_symlinks=False)
            key = Path(entry.path).relative_to(folder).as_posix()
            page.append(Stored(key, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC)))
        if len(page) == size:
            yield page
            page = []
    if page:
        yield page


def remove(folder: Path, keys: Sequence[str]) -> None:
    """Unlink these files, those that are there, and the folders that become empty by it; blocking.

    Safe beside a put into such a folder: only an empty one can be removed, and a put makes its folder until the file
    stands in it.
    """
    paths = [_inside(folder, key) for key in keys]
    for path in paths:
        with suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()
    for parent in {parent for path in paths for parent in path.relative_to(folder).parents}:
        with suppress(OSError):  # not empty, or gone already
            if parent.parts:
                (folder / parent).rmdir()


def _files(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Depth first, so that no more than one open folder for each level is held."""
    try:
        entries = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    with entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(Path(entry.path))
            else:
                yield entry


def _inside(folder: Path, key: str) -> Path:
    if PurePosixPath(key).is_absolute() or ".." in PurePosixPath(key).parts:
        raise ValueError(f"{key!r} leads out of the storage")
    return folder / key

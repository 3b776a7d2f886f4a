"""Blocking file operations of the local disk, for the files that obstore hides.

A put writes to `{key}#1` (the next free number) and renames that file. A process that dies in between leaves it behind,
and obstore neither lists nor deletes names with such a suffix.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from imgsvc.services.ports import Stored


def look_up(folder: Path, keys: Iterable[str]) -> dict[str, bool | Exception]:
    """Return for each key whether it has a file, or the error if that is unknown.

    Raises:
        OSError: the storage folder itself is missing.
    """
    found = {key: _has_file(folder, key) for key in keys}
    os.scandir(folder).close()
    return found


def _has_file(folder: Path, key: str) -> bool | Exception:
    try:
        return _inside(folder, key).is_file()
    except (OSError, ValueError) as error:
        return error


def pages(folder: Path, prefix: str, size: int) -> Iterator[list[Stored]]:
    """Yield every file under `prefix` (whole folder names; "" means all), `size` at a time.

    A prefix that does not exist has no files.

    Raises:
        OSError: the storage folder itself is missing or is not a folder.
    """
    os.scandir(folder).close()
    page: list[Stored] = []
    for entry in _files(_inside(folder, prefix)):
        with suppress(FileNotFoundError):  # removed, or renamed to its final name, after it was listed
            found = entry.stat(follow_symlinks=False)
            key = Path(entry.path).relative_to(folder).as_posix()
            page.append(Stored(key, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC)))
        if len(page) == size:
            yield page
            page = []
    if page:
        yield page


def remove(folder: Path, keys: Sequence[str]) -> None:
    """Unlink the files of `keys` that exist, and the folders that become empty.

    Safe during a put into such a folder: only an empty folder can be removed, and a put creates its folder again until
    the file is there.
    """
    paths = [_inside(folder, key) for key in keys]
    for path in paths:
        with suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()
    for parent in {parent for path in paths for parent in path.relative_to(folder).parents}:
        with suppress(OSError):  # not empty, or already gone
            if parent.parts:
                (folder / parent).rmdir()


def _files(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield files depth first, so that at most one folder per level is open."""
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
    if key.startswith("/") or ".." in key.split("/"):
        raise ValueError(f"{key!r} is outside the storage")
    return folder / key

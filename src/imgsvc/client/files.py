"""The files that downloads are written to."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file that replaces `path` when the block succeeds; a pipe or device is written directly."""
    if is_device(path):
        with path.open("wb") as file:
            yield file
        return
    target = path.resolve()  # the target of a symbolic link
    part = target.with_name(f".{secrets.token_hex(8)}.part")  # a short name: `path` may have the maximum length
    try:
        with part.open("xb") as file:
            yield file
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def is_device(path: Path) -> bool:
    """Return True for a pipe, a device or the like: data written to it cannot be undone."""
    return path.exists() and not path.is_file()

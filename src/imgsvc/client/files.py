"""Files that downloads are written to."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def arriving(path: Path) -> Iterator[IO[bytes]]:
    """A file to write, which takes the place of `path` at the end of the block; pipes and devices are written to."""
    if is_device(path):
        with path.open("wb") as file:
            yield file
        return
    target = path.resolve()  # of a link, what it leads to
    part = target.with_name(f".{secrets.token_hex(8)}.part")  # short: the name itself may be as long as names may be
    try:
        with part.open("xb") as file:
            yield file
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def is_device(path: Path) -> bool:
    """Whether `path` is a pipe or the like: what was written to it cannot be taken back."""
    return path.exists() and not path.is_file()

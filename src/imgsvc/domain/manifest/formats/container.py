"""A ZIP: the members of a workbook, or the files of an archive, read with limits."""

import io
import zipfile
import zlib
from collections.abc import Iterator

from imgsvc.domain.manifest.records import refused
from imgsvc.domain.manifest.rows_file import content_too_large
from imgsvc.errors import InvalidManifest, Problem

MAX_MEMBERS = 10_000
_CHUNK = 2**20
_TAIL = 2**16 + 22
"""Bytes at the end of a ZIP that contain its end record."""
_FAULTS = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError)
"""Errors that zipfile raises for damaged, encrypted (RuntimeError) and unsupported (NotImplementedError) members."""


def damaged(what: str) -> InvalidManifest:
    return refused([Problem("damaged_file", f"{what} is damaged and cannot be read. Save or pack it again.")])


class Container:
    """The members of the ZIP in `data`."""

    def __init__(self, data: bytes) -> None:
        if _declared_members(data) > MAX_MEMBERS:  # zipfile would build all of them
            raise refused([Problem("too_many_files", f"The ZIP has more than {MAX_MEMBERS:,} files. Send one table.")])
        self.data = data
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except _FAULTS as exc:
            raise damaged("The ZIP (or workbook)") from exc
        self.members = {info.filename.replace("\\", "/"): info for info in self._zip.infolist()}

    @property
    def unpacked_size(self) -> int:
        """The bytes of all members, as declared."""
        return sum(info.file_size for info in self.members.values())

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield the content of a member.

        Raises:
            InvalidManifest: `encrypted`, `damaged_file`.
        """
        info = self.members[name]
        if info.flag_bits & 1:
            raise refused([Problem("encrypted", f"The file `{name[:200]}` in the ZIP is protected with a password.")])
        try:
            with self._zip.open(info) as member:
                while chunk := member.read(_CHUNK):
                    yield chunk
        except _FAULTS as exc:
            raise damaged(f"The file `{name[:200]}` in the ZIP") from exc

    def read(self, name: str, *, max_bytes: int) -> bytes:
        """Return the content of a member.

        Raises:
            LimitExceeded: it has more than `max_bytes`.
        """
        content = bytearray()
        for chunk in self.chunks(name):
            content += chunk
            if len(content) > max_bytes:
                raise content_too_large(max_bytes)
        return bytes(content)

    def holds(self, name: str, text: bytes) -> bool:
        """Return True if the first mebibyte of the member `name` contains `text`."""
        return name in self.members and text in next(self.chunks(name), b"")


def _declared_members(data: bytes) -> int:
    """Return the number of members that the end record declares, or could declare: a member takes 46 bytes there."""
    at = data.rfind(b"PK\5\6", max(0, len(data) - _TAIL))
    if at < 0 or at + 16 > len(data):
        return 0
    size = int.from_bytes(data[at + 12 : at + 16], "little")
    return min(size, len(data)) // 46
